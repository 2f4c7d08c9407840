//! Limits as files: which of them say a zone's limits, and with which values.
//!
//! [`settings`] is the policy, as data, for both versions; it looks at nothing but what [`Sight`] shows of the host,
//! and writes nothing.

mod io;

use std::collections::BTreeSet;

use zoned_api::config::{CpuSet, Limits, Size};

pub(super) use self::io::{RATES, Rate};
use super::{
    controllers::{Controller, Sight, Version},
    cpus::{EXCLUSIVE, PARTITION},
    limits::LimitError,
    weight,
};
use crate::platform::disks::Disk;

/// Period of a cap in microseconds, the kernel's own.
pub(super) const PERIOD_US: u64 = 100_000;

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Key of the configuration it comes from.
    pub(super) key: &'static str,
    pub(super) controller: Controller,
    pub(super) file: &'static str,
    pub(super) value: Value,
}

impl Setting {
    /// Whether it is nobody else's affair: CPUs are given to all zones together.
    pub(super) fn is_its_own(&self) -> bool {
        self.controller != Controller::Cpuset
    }
}

/// What a file is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// This.
    Whole(String),
    /// What it says in the group above.
    Inherited,
    /// These lines, each of a device, and none of any other device.
    Lines(Vec<String>),
}

/// What a zone's files are on: the block devices at which it is held back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disks {
    /// What it reads from. Not its own: what a loop device's worker reads is charged to whoever it reads for, so that is
    /// held back where it comes from, once.
    pub read: Vec<Disk>,
    /// What it writes to: its own, if it has one, and not what that is on; that of folders it shares.
    pub written: Vec<Disk>,
    /// The device that nobody else writes to, while a zone with a quota has a boot.
    pub own: Option<Disk>,
}

impl Disks {
    /// All of them, each once.
    pub fn all(&self) -> BTreeSet<Disk> {
        self.read.iter().chain(&self.written).copied().collect()
    }

    /// Whether others write to one that it writes to.
    fn shares(&self) -> bool {
        self.written.iter().any(|disk| Some(*disk) != self.own)
    }
}

/// The files that say these limits, in an order in which each may be written. In a group that was just `made` nothing
/// is set, and what limits nothing is left out.
pub(super) fn settings(
    host: &impl Sight,
    limits: &Limits,
    disks: &Disks,
    made: bool,
) -> Result<Vec<Setting>, LimitError> {
    let mut all = Vec::new();
    for part in [cpu, cpuset, memory, tasks, io::weight, io::caps] {
        part(&mut Draft { host, disks, made, all: &mut all }, limits)?;
    }
    Ok(all)
}

struct Draft<'a, H> {
    host: &'a H,
    disks: &'a Disks,
    made: bool,
    all: &'a mut Vec<Setting>,
}

impl<H: Sight> Draft<'_, H> {
    /// Where a controller is. None if it is nowhere and nothing is asked of it.
    fn version(
        &self,
        key: &'static str,
        controller: Controller,
        asked: bool,
    ) -> Result<Option<Version>, LimitError> {
        match self.host.version(controller) {
            None if asked => Err(unsupported(
                key,
                format!("this host has no {} controller for zones", controller.name(Version::Two)),
                "`zonectl doctor` shows what this host can enforce; take the key away",
            )),
            version => Ok(version),
        }
    }

    /// A limit, or what says that there is none.
    fn put(
        &mut self,
        key: &'static str,
        controller: Controller,
        file: &'static str,
        value: Option<String>,
        none: &str,
    ) {
        if value.is_some() || !self.made {
            let value = Value::Whole(value.unwrap_or_else(|| none.to_owned()));
            self.all.push(Setting { key, controller, file, value });
        }
    }

    /// Limits of devices, or none.
    fn put_lines(
        &mut self,
        key: &'static str,
        controller: Controller,
        file: &'static str,
        lines: Vec<String>,
    ) {
        if !lines.is_empty() || !self.made {
            self.all.push(Setting { key, controller, file, value: Value::Lines(lines) });
        }
    }
}

fn unsupported(key: &'static str, why: impl Into<String>, hint: &str) -> LimitError {
    LimitError::Unsupported { key, why: why.into(), hint: hint.into() }
}

fn cpu<H: Sight>(draft: &mut Draft<'_, H>, limits: &Limits) -> Result<(), LimitError> {
    let (key, controller) = ("cpu.shares", Controller::Cpu);
    let asked = limits.cpu.shares.is_some();
    if let Some(version) = draft.version(key, controller, asked)? {
        let shares = limits.cpu.counted_shares();
        // A group that was idle takes no weight, and one that is no longer idle has the kernel's own.
        draft.put(key, controller, "cpu.idle", (shares == 0).then(|| "1".into()), "0");
        if shares > 0 {
            let (file, weight) = weight::weight(version, shares, 1.0);
            draft.put(key, controller, file, Some(weight.to_string()), "");
        } else if !draft.host.has(controller, "cpu.idle") {
            let why = "this kernel knows no group that runs only when nobody else wants the CPU (cpu.idle)";
            return Err(unsupported(key, why, "give it 1 share, the least there is"));
        }
    }
    let key = "cpu.cap";
    let quota = limits.cpu.cap.map(|cap| (cap * PERIOD_US as f64).round() as u64);
    match draft.version(key, controller, quota.is_some())? {
        None => {}
        Some(_) if quota.is_some() && !draft.host.has(controller, draft.host.quota_file()) => {
            let why = "this kernel was built without caps (CONFIG_CFS_BANDWIDTH)";
            return Err(unsupported(key, why, "take the key away; shares and cpus bound a zone too"));
        }
        Some(Version::One) => {
            draft.put(key, controller, "cpu.cfs_quota_us", quota.map(|q| q.to_string()), "-1");
        }
        Some(Version::Two) => {
            let none = format!("max {PERIOD_US}");
            draft.put(key, controller, "cpu.max", quota.map(|q| format!("{q} {PERIOD_US}")), &none);
        }
    }
    Ok(())
}

fn cpuset<H: Sight>(draft: &mut Draft<'_, H>, limits: &Limits) -> Result<(), LimitError> {
    let (key, controller, cpus) = ("cpu.cpus", Controller::Cpuset, &limits.cpu.cpus);
    let Some(version) = draft.version(key, controller, cpus.is_some())? else { return Ok(()) };
    if let Some(cpus) = cpus {
        let have = draft.host.cpus();
        if let Some(missing) = cpus.without(&have) {
            let why = format!("this host's zones have no CPU {missing}, only {have}");
            return Err(unsupported(key, why, "name CPUs that are there, or take the key away for all"));
        }
        draft.put(key, controller, "cpuset.cpus", Some(cpus.to_string()), "");
        if limits.cpu.dedicated {
            can_dedicate(draft, version, cpus, &have)?;
            draft.put("cpu.dedicated", controller, EXCLUSIVE, Some(cpus.to_string()), "");
            draft.put("cpu.dedicated", controller, PARTITION, Some("root".into()), "");
        }
    } else if version == Version::Two {
        draft.put(key, controller, "cpuset.cpus", None, "\n");
    } else if !draft.made {
        draft.all.push(Setting { key, controller, file: "cpuset.cpus", value: Value::Inherited });
    }
    Ok(())
}

fn can_dedicate<H: Sight>(
    draft: &Draft<'_, H>,
    version: Version,
    cpus: &CpuSet,
    have: &CpuSet,
) -> Result<(), LimitError> {
    let key = "cpu.dedicated";
    if version == Version::One {
        // cpuset(7), cpu_exclusive: against groups beside it, and not against what is in the root group.
        let why = "this host's cpuset controller is of cgroup version 1, which does not keep the host's own processes off \
                   a zone's CPUs";
        return Err(unsupported(key, why, "take the key away; cpu.cpus alone says where the zone runs"));
    }
    if !draft.host.has(Controller::Cpuset, EXCLUSIVE) {
        let why = "this kernel gives a zone no CPUs for itself (cpuset.cpus.exclusive, Linux 6.7)";
        return Err(unsupported(key, why, "take the key away; cpu.cpus alone says where the zone runs"));
    }
    if have.count() < 2 || have.without(cpus).is_none() {
        let why = format!("would leave nobody else a CPU: this host's zones have {have}");
        return Err(unsupported(key, why, "name fewer CPUs in cpu.cpus, or take the key away"));
    }
    Ok(())
}

fn memory<H: Sight>(draft: &mut Draft<'_, H>, limits: &Limits) -> Result<(), LimitError> {
    let (memory, controller) = (&limits.memory, Controller::Memory);
    let asked = [("memory.limit", memory.limit), ("memory.high", memory.high), ("memory.swap", memory.swap)];
    let first = asked.iter().find(|(_, size)| size.is_some()).map(|(key, _)| *key);
    let Some(version) = draft.version(first.unwrap_or("memory.limit"), controller, first.is_some())? else {
        return Ok(());
    };
    let bytes = |size: Option<Size>| size.map(|size| size.0.to_string());
    let swaps = draft.host.has(
        controller,
        match version {
            Version::One => "memory.memsw.limit_in_bytes",
            Version::Two => "memory.swap.max",
        },
    );
    if memory.swap.is_some() && !swaps {
        let why = "this kernel does not count swap space by group";
        return Err(unsupported("memory.swap", why, "take the key away"));
    }
    if version == Version::Two {
        draft.put("memory.high", controller, "memory.high", bytes(memory.high), "max");
        draft.put("memory.limit", controller, "memory.max", bytes(memory.limit), "max");
        if swaps {
            draft.put("memory.swap", controller, "memory.swap.max", bytes(memory.swap), "max");
        }
        return Ok(());
    }
    if memory.high.is_some() {
        let why =
            "this host's memory controller is of cgroup version 1, which slows nobody down before the limit";
        return Err(unsupported("memory.high", why, "take the key away, and give memory.limit alone"));
    }
    let both = match (memory.limit, memory.swap) {
        (None, Some(_)) => {
            let why =
                "this host's memory controller is of cgroup version 1, which bounds memory and swap together";
            return Err(unsupported("memory.swap", why, "give memory.limit too"));
        }
        (Some(limit), Some(swap)) => Some(limit.0.saturating_add(swap.0).to_string()),
        _ => None,
    };
    draft.put("memory.limit", controller, "memory.limit_in_bytes", bytes(memory.limit), "-1");
    if swaps {
        draft.put("memory.swap", controller, "memory.memsw.limit_in_bytes", both, "-1");
    }
    Ok(())
}

fn tasks<H: Sight>(draft: &mut Draft<'_, H>, limits: &Limits) -> Result<(), LimitError> {
    let (key, max) = ("tasks.max", limits.tasks.max);
    if draft.version(key, Controller::Pids, max.is_some())?.is_some() {
        draft.put(key, Controller::Pids, "pids.max", max.map(|n| n.to_string()), "max");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
