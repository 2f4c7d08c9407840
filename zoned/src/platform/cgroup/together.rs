//! All zones together, against the host's own processes.
//!
//! The zones' parent group competes with what else is at the top of the cpu controller's hierarchy: groups of the host's,
//! each by its own weight, and processes in none, of which each thread weighs as much as one group of the kernel's default
//! weight, or with autogroups each session (sched(7)). The weight of the parent group alone is written: the others are the
//! host's own, and what is in the root group is moved nowhere.

use std::{fs, path::Path};

use super::{
    CgroupError, Tree,
    controllers::{Controller, Sight, Version},
};

/// Shares that a group of the kernel's default weight has, and each thread or session that is in no group.
pub const DEFAULT_SHARES: u64 = 100;

/// Version 1's default weight.
const V1_DEFAULT: u64 = 1024;

/// What zones compete with.
#[derive(Debug)]
pub struct Beside {
    /// Version of the controller.
    pub version: &'static str,
    /// Shares of all zones together.
    pub shares: u64,
    /// Whether processes of the host's are in no group.
    pub loose: bool,
    /// The host's groups.
    pub groups: Vec<String>,
}

impl Tree {
    /// Gives all zones together so many shares.
    pub(super) fn weigh_together(&self, shares: u64) -> Result<(), CgroupError> {
        let Some((version, parent)) = self.version(Controller::Cpu).zip(self.folder(Controller::Cpu, ""))
        else {
            return match shares {
                DEFAULT_SHARES => Ok(()),
                shares => Err(CgroupError::NoShares(shares)),
            };
        };
        let (file, weight) = match version {
            Version::One => ("cpu.shares", shares * V1_DEFAULT / DEFAULT_SHARES),
            Version::Two => ("cpu.weight", shares),
        };
        let path = parent.join(file);
        fs::write(&path, weight.to_string()).map_err(CgroupError::io(&path, "weigh"))
    }

    /// For `doctor`: what zones compete with. None where no controller is there to share the CPU.
    pub fn beside(&self) -> Option<Beside> {
        let (version, parent) = (self.version(Controller::Cpu)?, self.folder(Controller::Cpu, "")?);
        let number = |file: &str| fs::read_to_string(parent.join(file)).ok()?.trim().parse::<u64>().ok();
        let shares = match version {
            Version::One => (number("cpu.shares")? * DEFAULT_SHARES).div_ceil(V1_DEFAULT),
            Version::Two => number("cpu.weight")?,
        };
        let root = parent.parent()?;
        let folders = fs::read_dir(root).ok()?.flatten().filter(|entry| entry.path() != *parent);
        let groups = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut groups: Vec<_> =
            groups.map(|group| group.file_name().to_string_lossy().into_owned()).collect();
        groups.sort();
        Some(Beside { version: version.shown(), shares, loose: holds_processes(root), groups })
    }
}

/// Whether a group itself has processes that run a program; threads of the kernel run none.
fn holds_processes(group: &Path) -> bool {
    let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    pids.lines().any(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok())
}
