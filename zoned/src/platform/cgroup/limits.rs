//! Limits of a boot: writing them, and what is in force.
//!
//! The files are in the zone's group of the host's, above what is delegated to the zone, and stay the host's root's. Which
//! CPUs each runs on is written by [`super::cpus`], for all zones together.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use zoned_api::config::{CpuSet, Limits, Size};

use super::{
    Tree,
    controllers::{Controller, Sight, Version},
    settings::{Disks, Setting, Value, settings},
    weight::V1_PER_SHARE,
};

/// What can go wrong with a limit.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// This host cannot enforce it.
    #[error("{key}: {why}")]
    Unsupported {
        /// Key of the configuration.
        key: &'static str,
        /// Why not.
        why: String,
        /// What can be done about it.
        hint: String,
    },
    /// More is in use already.
    #[error("{key}: {limit} is below the {used} in use")]
    Below {
        /// Key of the configuration.
        key: &'static str,
        /// What was asked.
        limit: String,
        /// What is used.
        used: String,
    },
    /// Other zones have the CPUs, or would be left none.
    #[error("{key}: {why}")]
    Taken {
        /// Key of the configuration.
        key: &'static str,
        /// Who, and which.
        why: String,
        /// What can be done about it.
        hint: &'static str,
    },
    /// The kernel gives a zone no CPUs for itself.
    #[error("cpu.dedicated: the kernel does not give it these CPUs for itself: {why}")]
    Dedicate {
        /// Its reason.
        why: String,
    },
    /// The kernel refused a value.
    #[error("{key}: cannot write {value:?} to {path}", path = path.display())]
    Write {
        /// Key of the configuration.
        key: &'static str,
        /// What was to be written.
        value: String,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Tree {
    /// Whether this host can enforce all of these.
    pub fn can_limit(&self, limits: &Limits, disks: &Disks) -> Result<(), LimitError> {
        settings(self, limits, disks, true).map(drop)
    }

    /// Writes the limits of a boot whose groups were just made; nothing runs in them yet.
    pub fn limit_new(&self, tag: &str, limits: &Limits, disks: &Disks) -> Result<(), LimitError> {
        let mut settings = settings(self, limits, disks, true)?;
        settings.retain(Setting::is_its_own);
        self.count_io(tag, disks);
        settings.iter().try_for_each(|setting| self.write(tag, setting))?;
        self.hold_writeback(disks, &limits.io)
    }

    /// Writes the limits of a boot, where they are not in force already. What is in use is looked at before anything
    /// is written; on an error some of it may be.
    pub fn limit(&self, tag: &str, limits: &Limits, disks: &Disks) -> Result<(), LimitError> {
        let mut settings = settings(self, limits, disks, false)?;
        if let Some(below) = self.memory_below_use(tag, limits).or_else(|| self.tasks_below_use(tag, limits))
        {
            return Err(below);
        }
        settings.retain(Setting::is_its_own);
        self.order(tag, &mut settings);
        settings.iter().try_for_each(|setting| self.write(tag, setting))?;
        self.hold_writeback(disks, &limits.io)
    }

    /// Gives a boot the limits back that it had. One that cannot be given keeps back no other; returns why not.
    pub fn put_back(&self, tag: &str, limits: &Limits, disks: &Disks) -> Vec<LimitError> {
        let mut settings = match settings(self, limits, disks, false) {
            Ok(settings) => settings,
            Err(e) => return vec![e],
        };
        // Version 2 would kill what it has grown by meanwhile.
        let grown = self.memory_below_use(tag, limits);
        settings.retain(|setting| grown.is_none() || setting.controller != Controller::Memory);
        settings.retain(Setting::is_its_own);
        self.order(tag, &mut settings);
        let failed = settings.iter().filter_map(|setting| self.write(tag, setting).err());
        let failed: Vec<_> = grown.into_iter().chain(failed).collect();
        failed.into_iter().chain(self.hold_writeback(disks, &limits.io).err()).collect()
    }

    /// Version 1 holds memory below memory and swap together at any moment: whichever makes room goes first.
    fn order(&self, tag: &str, settings: &mut [Setting]) {
        let at = |file: &str| settings.iter().position(|s| s.file == file);
        let both = at("memory.limit_in_bytes").zip(at("memory.memsw.limit_in_bytes"));
        let Some((limit, total)) = both else { return };
        // -1, none, is no number and more than any.
        let now = self.number(Controller::Memory, tag, "memory.limit_in_bytes").unwrap_or(0);
        let asked = settings.get(total).and_then(|s| match &s.value {
            Value::Whole(text) => text.parse::<u64>().ok(),
            _ => None,
        });
        if asked.is_none_or(|asked| asked >= now) {
            settings.swap(limit, total);
        }
    }

    fn memory_below_use(&self, tag: &str, limits: &Limits) -> Option<LimitError> {
        let (limit, used) = limits.memory.limit.zip(self.memory_held(tag))?;
        (used > limit.0).then(|| LimitError::Below {
            key: "memory.limit",
            limit: limit.to_string(),
            used: Size(used.next_multiple_of(1 << 20)).to_string(),
        })
    }

    fn tasks_below_use(&self, tag: &str, limits: &Limits) -> Option<LimitError> {
        let (max, used) = limits.tasks.max.zip(self.tasks(tag))?;
        (used > max).then(|| LimitError::Below {
            key: "tasks.max",
            limit: max.to_string(),
            used: used.to_string(),
        })
    }

    pub(super) fn write(&self, tag: &str, setting: &Setting) -> Result<(), LimitError> {
        let Setting { key, controller, file, value } = setting;
        let Some(folder) = self.folder(*controller, tag) else { return Ok(()) };
        let path = folder.join(file);
        let value = match value {
            Value::Whole(value) => value.clone(),
            Value::Inherited => folder.parent().map(|above| said(&above.join(file))).unwrap_or_default(),
            Value::Lines(lines) => return write_lines(key, &path, lines),
        };
        let written = match write(key, &path, &value) {
            // Linux 6.12 and before: a cpuset in use does not become empty again. All that there are is the same.
            Err(LimitError::Write { source, .. })
                if value.trim().is_empty() && source.raw_os_error() == Some(libc::ENOSPC) =>
            {
                let above = folder.parent().map(|above| said(&above.join("cpuset.cpus.effective")));
                write(key, &path, &above.unwrap_or_default())
            }
            written => written,
        };
        written.map_err(|error| match error {
            // Version 1: it could not be reclaimed.
            LimitError::Write { source, .. }
                if *controller == Controller::Memory && source.raw_os_error() == Some(libc::EBUSY) =>
            {
                LimitError::Below {
                    key,
                    limit: value.parse().map_or(value.clone(), |bytes| Size(bytes).to_string()),
                    used: self.memory(tag).map_or_else(|| "memory".into(), |bytes| Size(bytes).to_string()),
                }
            }
            other => other,
        })
    }

    /// The CPUs that zones may use.
    pub fn cpus(&self) -> CpuSet {
        Sight::cpus(self)
    }

    /// What of the limits is in force, by the kernel's word.
    pub fn in_force(&self, tag: &str) -> Limits {
        let mut limits = Limits::default();
        let number = |controller, file: &str| self.number(controller, tag, file);
        let (cpu, memory) = (Controller::Cpu, Controller::Memory);
        let weight = number(cpu, "cpu.weight").or(number(cpu, "cpu.shares").map(|n| n / V1_PER_SHARE));
        let idle = number(cpu, "cpu.idle") == Some(1);
        limits.cpu.shares = if idle { Some(0) } else { weight };
        limits.cpu.cap = self.cap(tag);
        limits.cpu.cpus = self.own_cpus(tag);
        limits.cpu.dedicated = self.dedication(tag) == Some(Ok(()));
        // Version 1 says none by a number that no host has.
        let size = |file: &str| number(memory, file).filter(|n| *n < 1 << 62).map(Size);
        limits.memory.limit = size("memory.max").or(size("memory.limit_in_bytes"));
        limits.memory.high = size("memory.high");
        let both = size("memory.memsw.limit_in_bytes").zip(limits.memory.limit);
        limits.memory.swap =
            size("memory.swap.max").or(both.map(|(both, of)| Size(both.0.saturating_sub(of.0))));
        limits.tasks.max = number(Controller::Pids, "pids.max");
        limits.io = self.io_in_force(tag);
        limits
    }

    fn cap(&self, tag: &str) -> Option<f64> {
        let (quota, period) = match self.version(Controller::Cpu)? {
            Version::One => (
                self.number(Controller::Cpu, tag, "cpu.cfs_quota_us")?,
                self.number(Controller::Cpu, tag, "cpu.cfs_period_us")?,
            ),
            Version::Two => {
                let text = self.text(Controller::Cpu, tag, "cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.parse().ok()?, period.parse().ok()?)
            }
        };
        (period > 0).then(|| quota as f64 / period as f64)
    }

    /// The CPUs of a boot, where they are fewer than those of all zones.
    fn own_cpus(&self, tag: &str) -> Option<CpuSet> {
        let own = CpuSet::parse(&self.text(Controller::Cpuset, tag, "cpuset.cpus")?).ok()?;
        (own != self.cpus()).then_some(own)
    }
}

/// What a file says, without what is around it.
pub(super) fn said(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Writes a limit, where it is not in force already.
pub(super) fn write(key: &'static str, path: &Path, value: &str) -> Result<(), LimitError> {
    if said(path) == value.trim() {
        return Ok(());
    }
    tracing::debug!(path = %path.display(), value, "limit");
    let written = fs::write(path, value);
    written.map_err(|source| LimitError::Write { key, value: value.into(), path: path.into(), source })
}

/// Writes the limits of devices, where they are not in force already, and takes away those of others.
pub(super) fn write_lines(key: &'static str, path: &Path, lines: &[String]) -> Result<(), LimitError> {
    let now = said(path);
    let device = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let gone = now.lines().map(device).filter(|old| !lines.iter().any(|line| device(line) == *old));
    let none = if path.ends_with("io.max") { "rbps=max wbps=max riops=max wiops=max" } else { "0" };
    let gone: Vec<_> = gone.map(|device| format!("{device} {none}")).collect();
    let new = lines.iter().filter(|line| !now.lines().any(|old| old == *line));
    gone.iter().chain(new).try_for_each(|line| write(key, path, line))
}
