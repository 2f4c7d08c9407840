//! What is kept of a zone beside its configuration.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zoned_api::{Verb, report::Exit};

/// Version of [`Record`] and [`History`]. A file of a newer one is refused, an older one would be read and written anew.
pub const VERSION: u32 = 1;

/// `state.json`: forced to the disk at each change, of which an administrator makes few.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Identity.
    pub uuid: Uuid,
    /// Milliseconds since the epoch when it was created.
    pub created_ms: u64,
    /// Whether it has a root.
    pub root: Root,
}

/// Whether a zone has a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Root {
    /// It has none: configured.
    None,
    /// This verb began and has not ended: incomplete.
    Incomplete {
        /// Install or uninstall.
        doing: Verb,
        /// Why it did not end, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// It has one: installed.
    Installed {
        /// Where it comes from, in words.
        from: String,
        /// Digests of its layers, top first; none for a sparse root.
        layers: Vec<String>,
        /// PRETTY_NAME of its os-release, escaped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        os: Option<String>,
    },
}

impl Record {
    /// Of a zone just created.
    pub fn new(uuid: Uuid, created_ms: u64) -> Self {
        Self { version: VERSION, uuid, created_ms, root: Root::None }
    }
}

/// `history.json`: written when a boot has ended, and not forced to the disk. After a crash of the host it may be
/// old or gone, which does no harm: boot numbers must differ only within one life of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// [`VERSION`].
    pub version: u32,
    /// Number of the last boot.
    pub boot: u64,
    /// How that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A reboot that an administrator asked for is under way: what it is done with, and the life of the host it was
    /// asked in. A daemon that dies in between leaves it to the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<Reboot>,
}

/// A reboot under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Number of the boot that is to end.
    pub boot: u64,
    /// Seconds its init may take to stop; halted at once if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

impl History {
    /// The reboot that is under way in this life of the host: the boot after it has not begun.
    pub fn rebooting(&self, boot_id: &str) -> Option<&Reboot> {
        self.reboot.as_ref().filter(|reboot| reboot.boot_id == boot_id && reboot.boot == self.boot)
    }
}

impl Default for History {
    fn default() -> Self {
        Self { version: VERSION, boot: 0, last_exit: None, reason: None, reboot: None }
    }
}
