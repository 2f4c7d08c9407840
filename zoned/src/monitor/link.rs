//! What the short-lived processes on the way into a zone tell the monitor, over a socket pair of their own that
//! closes by itself at the exec that ends the way.

use serde::{Deserialize, Serialize};

/// From the builder, PID 1 before its exec, or a command before its exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Word {
    /// A process was born into the zone. Comes with its pidfd.
    Born {
        /// In the host's numbering.
        pid: i32,
    },
    /// A terminal of the zone's. Comes with master and slave (console), or the master alone (exec).
    Terminal,
    /// PID 1 stands before its exec and waits for [`Go`].
    Ready,
    /// The way ended here.
    Failed {
        /// Object and reason.
        why: String,
        /// What a client should exit with: 125, 126 or 127.
        code: u8,
    },
    /// A task of the monitor's own inside the zone (a copy) has found what it is about and begins.
    Begun,
    /// That task is done.
    Finished,
}

/// From the monitor to whom waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Go {
    /// To PID 1: its ids are mapped. Then once more: exec.
    On,
}
