//! What a client and a zone's monitor say to each other over a session socket.
//!
//! `exec`, `login`, `console` and `cp` hand the client one end of a `SOCK_SEQPACKET` pair whose other end the
//! zone's monitor holds; the daemon is not on the way, so that a session outlives it. Each packet is one JSON
//! object. The streams themselves are pipes (or a pty) whose descriptors travel apart from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Largest packet, in bytes.
pub const MAX_PACKET: usize = 64 * 1024;

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments; empty means the user's login shell as a login shell.
    pub command: Vec<String>,
    /// User inside the zone, by name or number; root if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Working directory inside the zone; the user's home for a login, else `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Environment added to the brand's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A terminal of the zone's own for the command. The reply then carries its master after the session
    /// socket, and no stream is taken from the client.
    #[serde(default)]
    pub tty: bool,
    /// Size of that terminal: rows, columns.
    #[serde(default)]
    pub size: (u16, u16),
}

/// From the client to the monitor. The size of a terminal is not among it: the client holds the master and sets
/// the size there itself (TIOCSWINSZ; the programs inside get their SIGWINCH from the kernel).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum ToSession {
    /// Send the command's process group a signal.
    Signal {
        /// Signal number, 1–64.
        signal: u8,
    },
}

/// From the monitor to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum FromSession {
    /// The command ended. Last packet.
    Ended {
        /// What the client should exit with: the command's code, or 128 + signal; 126 not executable,
        /// 127 not found, 125 anything else that kept it from starting.
        code: u8,
        /// Why it could not be started, for 125–127.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}
