//! What a root holds, told by looking at it from outside.
//!
//! Owns the verdict on a root's first process and the brand it suggests. Reads through [`RootFs`] only, a bounded
//! part of each file, and takes nothing it reads for true: the root may be hostile, so names are escaped.

mod init;
mod os_release;
#[cfg(test)]
mod tests;

use std::{fmt, fs::File, io};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use init::{InitCheck, check_init};
pub use os_release::OsRelease;

/// A root that can be read.
pub trait RootFs {
    /// Opens a file for reading by its absolute path inside the root. Implementations resolve links inside the
    /// root (`openat2` with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`) and neither block on a FIFO nor take a
    /// terminal (`O_NONBLOCK | O_NOCTTY | O_CLOEXEC`).
    fn open(&self, path: &str) -> io::Result<File>;
}

/// Kind of a first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitKind {
    /// zone-monitor's own, which reaps and waits.
    Builtin,
    /// systemd.
    Systemd,
    /// System V init.
    Sysvinit,
    /// BusyBox' init.
    Busybox,
    /// OpenRC's own init.
    Openrc,
    /// Upstart.
    Upstart,
    /// Something else.
    Unknown,
}

impl fmt::Display for InitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InitKind::Builtin => "builtin",
            InitKind::Systemd => "systemd",
            InitKind::Sysvinit => "sysvinit",
            InitKind::Busybox => "busybox",
            InitKind::Openrc => "openrc",
            InitKind::Upstart => "upstart",
            InitKind::Unknown => "unknown init",
        })
    }
}

/// What a root holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Detection {
    /// What it says of itself; none if it has no os-release(5).
    pub os: Option<OsRelease>,
    /// Whether its first process can run here.
    pub init: InitCheck,
}

/// Looks at a root whose first process is to be `init`, an absolute path inside.
pub fn detect(root: &impl RootFs, init: &str) -> Detection {
    Detection { os: os_release::read(root), init: check_init(root, init) }
}

/// Name of the brand that suits a root.
pub fn suggest(detection: &Detection) -> &'static str {
    let systemd = matches!(detection.init, InitCheck::Ok { kind: InitKind::Systemd, .. });
    let debian =
        detection.os.as_ref().is_some_and(|os| os.id == "debian" || os.like.iter().any(|id| id == "debian"));
    if systemd && debian { "debian" } else { "native" }
}
