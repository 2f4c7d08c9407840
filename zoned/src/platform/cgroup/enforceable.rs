//! For `doctor`: which limits this host can enforce, by trying to plan them.

use zoned_api::config::{CpuSet, DEFAULT_WEIGHT, Limits, Size};

use super::{
    Tree,
    controllers::{Controller, Sight, Version, bfq_devices},
    limits::LimitError,
    settings::{Setting, settings},
};

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

const TRIALS: [Trial; 9] = [
    ("cpu.shares", Controller::Cpu, |l| l.cpu.shares = Some(1)),
    ("cpu.shares 0", Controller::Cpu, |l| l.cpu.shares = Some(0)),
    ("cpu.cap", Controller::Cpu, |l| l.cpu.cap = Some(1.0)),
    ("cpu.cpus", Controller::Cpuset, |l| l.cpu.cpus = Some(CpuSet::default())),
    ("memory.limit", Controller::Memory, |l| l.memory.limit = Some(Size(1 << 30))),
    ("memory.high", Controller::Memory, |l| l.memory.high = Some(Size(1 << 30))),
    ("memory.swap", Controller::Memory, |l| {
        (l.memory.limit, l.memory.swap) = (Some(Size(1 << 30)), Some(Size(0)));
    }),
    ("tasks.max", Controller::Pids, |l| l.tasks.max = Some(1 << 20)),
    ("io.weight", Controller::Io, |l| l.io.weight = Some(DEFAULT_WEIGHT)),
];

impl Tree {
    /// For `doctor`: whether this host can enforce each of the limits, by trying to plan it.
    pub fn enforceable(&self) -> Vec<Enforced> {
        let tried = |(keys, controller, ask): &Trial| {
            let mut limits = Limits::default();
            ask(&mut limits);
            let how = settings(self, &limits, true).map(|settings| self.how(*controller, &settings));
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

    fn how(&self, controller: Controller, settings: &[Setting]) -> String {
        let mut files: Vec<_> =
            settings.iter().filter(|s| s.controller == controller).map(|s| s.file).collect();
        if controller == Controller::Cpu {
            // The weight is always written; what was tried comes with it or instead of it.
            files.drain(..files.len().saturating_sub(1));
        }
        let version = self.version(controller).map_or("nowhere", Version::shown);
        let on = match controller {
            Controller::Io => format!(" on {}", bfq_devices().join(", ")),
            _ => String::new(),
        };
        format!("{version}: {}{on}", files.join(", "))
    }
}
