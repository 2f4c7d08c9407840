//! What `info`, `list`, `doctor` and `audit` return.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    config::{Mac, NetMode, ZoneConfig},
    name::ZoneName,
    stat::Entitlement,
    state::State,
};

/// All that is known of one zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneInfo {
    /// Name.
    pub zone: ZoneName,
    /// Identity; never changes and is never used again.
    pub uuid: Uuid,
    /// State.
    pub state: State,
    /// Why it is in this state, where it is not plain: how it ended, which step failed and what holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Brand.
    pub brand: String,
    /// How often it has been booted.
    pub boot: u64,
    /// First of its 65,536 user and group ids on the host.
    pub id_base: u32,
    /// Its first process, in the host's numbering, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_pid: Option<u32>,
    /// Its monitor, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_pid: Option<u32>,
    /// Milliseconds since the epoch when it was booted, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted_ms: Option<u64>,
    /// Milliseconds since the epoch when it came online, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online_ms: Option<u64>,
    /// What it lacks to be online, and what was seen of that last, while it runs and is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// Where its root comes from, in words, with the layers' digests; none before it is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// PRETTY_NAME of its os-release, escaped, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Limits in force, while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitUse>,
    /// Its interfaces beside `lo`, with the addresses that are its own whether it runs or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<Interface>,
    /// Its configuration, defaults filled in.
    pub config: ZoneConfig,
}

/// A limit that is in force, by the kernel's word, and what the zone takes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// Key of the configuration.
    pub key: String,
    /// The limit, in the configuration's form.
    pub limit: String,
    /// What is used now: bytes, tasks or inodes; with `io.*` bytes or requests a second on the busiest disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// What came of it: processes killed at `memory.limit`, forks refused at `tasks.max`, periods of a tenth of a
    /// second that `cpu.cap` cut short, seconds at a cap of `io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// What keeps it, and what that does now, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What is known of `global`, the host's own processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GlobalInfo {
    /// What was set of it, with what keeps that here, or why nothing does.
    pub limits: Vec<LimitUse>,
    /// What it may take of the CPUs; none where nothing keeps its shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitlement: Option<Entitlement>,
}

/// What a change does to what a zone, or `global`, is entitled to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The zone, or `global`.
    pub zone: String,
    /// Before the change; none if it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Entitlement>,
    /// After it.
    pub after: Entitlement,
}

/// An interface of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name inside.
    pub name: String,
    /// How it is connected.
    pub mode: NetMode,
    /// Hardware address; none on the host's own interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Addresses with the length of their network's prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// How a zone's first process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Exit {
    /// It returned.
    Exited {
        /// Exit code, 0–255.
        code: u8,
    },
    /// A signal ended it.
    Killed {
        /// Signal number.
        signal: u8,
    },
    /// reboot(2) with a halt or power-off command was called inside.
    PoweredOff,
    /// reboot(2) with a restart command was called inside.
    Rebooted,
    /// Its monitor died, so that nobody knows.
    Unknown,
}

/// What the host offers for one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `cgroup`, `user namespaces`, `eBPF tp_btf`, …
    pub subject: String,
    /// Verdict.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means for zones.
    pub meaning: String,
}

/// Verdict of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All there.
    Good,
    /// Works, with something missing.
    Limited,
    /// Does not work on this host.
    Missing,
}

/// A kernel object or file of ours that belongs to no living zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// `cgroup`, `mount`, `pin`, `process`, `slot`, `folder`, …
    pub kind: String,
    /// Which one: path, pid, name.
    pub object: String,
    /// Which zone it was of, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}
