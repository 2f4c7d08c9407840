//! What a root holds, told by looking at it from outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
