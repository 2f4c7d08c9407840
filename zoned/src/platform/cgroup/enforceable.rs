//! For `doctor`: which limits this host can enforce, by trying to plan them.

use zoned_api::config::{CpuSet, DEFAULT_WEIGHT, Limits, Size};

use super::{
    Tree,
    controllers::{Controller, Sight, Version, bfq_devices},
    limits::LimitError,
    settings::{Disks, Setting, Value, settings},
};
use crate::platform::disks::Disk;

/// Whether a host can enforce some keys: how, or why not.
#[derive(Debug)]
pub struct Enforced {
    /// Keys of the configuration.
    pub keys: &'static str,
    /// How, or why not.
    pub how: Result<String, String>,
}

/// What [`Tree::enforceable`] tries: the keys, their controller, and limits that any host with it can keep.
type Trial = (&'static str, Controller, fn(&mut Limits));

const TRIALS: [Trial; 14] = [
    ("cpu.shares", Controller::Cpu, |l| l.cpu.shares = Some(1)),
    ("cpu.shares 0", Controller::Cpu, |l| l.cpu.shares = Some(0)),
    ("cpu.cap", Controller::Cpu, |l| l.cpu.cap = Some(1.0)),
    ("cpu.cpus", Controller::Cpuset, |l| l.cpu.cpus = Some(CpuSet::default())),
    ("cpu.dedicated", Controller::Cpuset, |l| {
        (l.cpu.cpus, l.cpu.dedicated) = (Some(CpuSet::default()), true);
    }),
    ("memory.limit", Controller::Memory, |l| l.memory.limit = Some(Size(1 << 30))),
    ("memory.high", Controller::Memory, |l| l.memory.high = Some(Size(1 << 30))),
    ("memory.swap", Controller::Memory, |l| {
        (l.memory.limit, l.memory.swap) = (Some(Size(1 << 30)), Some(Size(0)));
    }),
    ("tasks.max", Controller::Pids, |l| l.tasks.max = Some(1 << 20)),
    ("io.weight", Controller::Io, |l| l.io.weight = Some(DEFAULT_WEIGHT)),
    ("io.read", Controller::Io, |l| l.io.read = Some(Size(1 << 30))),
    ("io.write", Controller::Io, |l| l.io.write = Some(Size(1 << 30))),
    ("io.read-iops", Controller::Io, |l| l.io.read_iops = Some(1000)),
    ("io.write-iops", Controller::Io, |l| l.io.write_iops = Some(1000)),
];

impl Tree {
    /// For `doctor`: whether this host can enforce each of the limits, by trying to plan it.
    /// `disks` are those that any zone has files on.
    pub fn enforceable(&self, disks: &[Disk]) -> Vec<Enforced> {
        let tried = |(keys, controller, ask): &Trial| {
            let mut limits = Limits::default();
            ask(&mut limits);
            let tried = |bounded: bool| {
                // As if it were its own.
                let own = disks.first().copied().filter(|_| bounded);
                let written = own.map_or_else(|| disks.to_vec(), |own| vec![own]);
                let disks = Disks { read: disks.to_vec(), written, own };
                settings(self, &limits, &disks, true).map(|settings| self.how(*controller, &settings, &disks))
            };
            let how = tried(false).or_else(|why| tried(true).map_err(|_| why));
            Enforced {
                keys,
                how: how.map_err(|e| match e {
                    LimitError::Unsupported { why, hint, .. } => format!("{why}; {hint}"),
                    other => other.to_string(),
                }),
            }
        };
        TRIALS.iter().map(tried).collect()
    }

    fn how(&self, controller: Controller, settings: &[Setting], disks: &Disks) -> String {
        let mut files: Vec<_> =
            settings.iter().filter(|s| s.controller == controller).map(|s| s.file).collect();
        if controller == Controller::Cpu {
            // The weight is always written; what was tried comes with it or instead of it.
            files.drain(..files.len().saturating_sub(1));
        }
        let version = self.version(controller).map_or("nowhere", Version::shown);
        let capped = || match disks.own {
            Some(_) => vec!["the disk of a zone with root.quota".to_owned()],
            None => disks.read.iter().map(|disk| disk.name()).collect(),
        };
        let on = match (controller, settings.last().map(|setting| &setting.value)) {
            (Controller::Io, Some(Value::Lines(_))) => listed(capped()),
            (Controller::Io, _) => listed(bfq_devices()),
            _ => String::new(),
        };
        format!("{version}: {}{on}", files.join(", "))
    }
}

fn listed(devices: Vec<String>) -> String {
    format!(" on {}", devices.join(", "))
}
