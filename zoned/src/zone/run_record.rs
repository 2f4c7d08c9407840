//! `run.json`: what the daemon notes of a boot, so that another daemon can take it over or clear it away.

use std::{fs, os::fd::OwnedFd, path::Path};

use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::tether::open_pidfd;
use crate::events::now_ms;
use crate::store::{self, StoreError, atomic::Keep, record::VERSION};

/// One boot. In the run folder, which a restart of the host need not have emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`VERSION`].
    pub version: u32,
    /// Life of the host it is of.
    pub boot_id: String,
    /// Number of the boot.
    pub boot: u64,
    /// Milliseconds since the epoch when it began.
    pub booted_ms: u64,
    /// It goes on to running by itself, and does not stop at ready.
    pub straight: bool,
    /// The monitor, once it has been started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Process>,
}

impl RunRecord {
    /// Of a boot that begins.
    pub fn new(boot_id: &str, boot: u64, straight: bool) -> Self {
        Self {
            version: VERSION,
            boot_id: boot_id.to_owned(),
            boot,
            booted_ms: now_ms(),
            straight,
            monitor: None,
        }
    }

    /// Reads it.
    pub fn load(path: &Path) -> Result<Self, StoreError> {
        store::load(path)
    }

    /// Writes it.
    pub fn save(&self, path: &Path) -> Result<(), StoreError> {
        store::save(path, self, Keep::ThroughExit)
    }
}

/// A process, so that a recycled number is never taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, clock ticks since the host did.
    pub start: u64,
}

impl Process {
    /// One that lives.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start: start_time(pid)? })
    }

    /// A descriptor of it, if it still lives.
    pub fn open(&self) -> Option<OwnedFd> {
        let pidfd = open_pidfd(self.pid).ok()?;
        // Looked at with the descriptor held: from here on the number cannot be given to another one.
        (start_time(self.pid) == Some(self.start)).then_some(pidfd)
    }

    /// Kills it, if it still lives. Returns its descriptor, to wait by.
    pub fn kill(&self) -> Option<OwnedFd> {
        let pidfd = self.open()?;
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        Some(pidfd)
    }
}

/// Field 22 of proc_pid_stat(5). The name before it may hold spaces and parentheses.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|b| *b == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after..)?).ok()?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.open().is_some());
        let earlier = Process { start: me.start - 1, ..me };
        assert!(earlier.open().is_none(), "the same number, but another process");
    }
}
