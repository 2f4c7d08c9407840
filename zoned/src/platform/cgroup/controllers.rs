//! Where each resource controller is on this host, and what it says of a boot.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use zoned_api::config::CpuSet;

use super::{Tree, cpus::EXCLUSIVE};

/// A resource controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    /// CPU time.
    Cpu,
    /// Which CPUs.
    Cpuset,
    /// Memory.
    Memory,
    /// Number of tasks.
    Pids,
    /// Block devices.
    Io,
}

impl Controller {
    /// Its name in a version.
    pub(super) fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Cpu, _) => "cpu",
            (Self::Cpuset, _) => "cpuset",
            (Self::Memory, _) => "memory",
            (Self::Pids, _) => "pids",
            (Self::Io, Version::One) => "blkio",
            (Self::Io, Version::Two) => "io",
        }
    }
}

/// Version of the interface a controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// In a hierarchy of version 1.
    One,
    /// In the cgroup2 tree.
    Two,
}

impl Version {
    /// For people.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::One => "cgroup v1",
            Self::Two => "cgroup2",
        }
    }
}

/// What limits depend on of a host.
pub(super) trait Sight {
    /// In which version zones have a controller, if they have it.
    fn version(&self, controller: Controller) -> Option<Version>;
    /// Whether groups have this file.
    fn has(&self, controller: Controller, file: &str) -> bool;
    /// The CPUs that zones may use.
    fn cpus(&self) -> CpuSet;
    /// The files by which block devices of this host share by weight, none if no device does.
    fn weight_files(&self) -> Vec<&'static str>;

    /// The file with the quota of CPU time.
    fn quota_file(&self) -> &'static str {
        match self.version(Controller::Cpu) {
            Some(Version::Two) => "cpu.max",
            _ => "cpu.cfs_quota_us",
        }
    }
}

impl Sight for Tree {
    fn version(&self, controller: Controller) -> Option<Version> {
        if self.known().has(controller.name(Version::One)) {
            return Some(Version::One);
        }
        self.unified.gives(controller.name(Version::Two)).then_some(Version::Two)
    }

    fn has(&self, controller: Controller, file: &str) -> bool {
        self.folder(controller, "").is_some_and(|parent| parent.join(file).exists())
    }

    fn cpus(&self) -> CpuSet {
        let parent = ["cpuset.cpus.effective", "cpuset.effective_cpus"]
            .into_iter()
            .find_map(|file| self.text(Controller::Cpuset, "", file));
        let online = || fs::read_to_string("/sys/devices/system/cpu/online").ok();
        let text = parent.or_else(online).unwrap_or_default();
        // A kernel that says neither runs on one.
        let cpus = CpuSet::parse(&text).or_else(|_| CpuSet::parse("0")).unwrap_or_default();
        // Those that a zone has for itself are not among the group's, and still there.
        let dedicated = self.text(Controller::Cpuset, "", EXCLUSIVE).map(|text| CpuSet::parse(&text));
        match (dedicated, online().map(|text| CpuSet::parse(&text))) {
            (Some(Ok(dedicated)), Some(Ok(online))) => {
                dedicated.common(&online).map_or(cpus.clone(), |own| cpus.with(&own))
            }
            _ => cpus,
        }
    }

    fn weight_files(&self) -> Vec<&'static str> {
        let there = |file: &&'static str| self.has(Controller::Io, file);
        let mut files: Vec<_> = match bfq_devices().is_empty() {
            true => Vec::new(),
            false => ["blkio.bfq.weight", "io.bfq.weight"].into_iter().filter(there).collect(),
        };
        if self.version(Controller::Io) == Some(Version::Two) && self.unified.costs_io() {
            files.extend(["io.weight"].into_iter().filter(there));
        }
        files
    }
}

/// Block devices whose scheduler shares by weight.
pub(super) fn bfq_devices() -> Vec<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let uses = |device: &fs::DirEntry| {
        fs::read_to_string(device.path().join("queue/scheduler")).is_ok_and(|list| list.contains("[bfq]"))
    };
    devices.filter(uses).map(|device| device.file_name().to_string_lossy().into_owned()).collect()
}

/// What a boot has taken, by the kernel's own account. None where the host keeps none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Memory now, with the page cache, bytes.
    pub memory: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Tasks now.
    pub tasks: Option<u64>,
    /// Forks refused at the limit.
    pub task_hits: Option<u64>,
    /// Bytes read from block devices.
    pub read: Option<u64>,
    /// Bytes written to block devices.
    pub written: Option<u64>,
    /// Periods in which its cap stopped it.
    pub throttled: Option<u64>,
}

/// The kernel's counters of limits that a boot ran into, held open: they are read often.
#[derive(Debug)]
pub struct Counters {
    oom_kills: Option<File>,
    tasks: Option<File>,
}

/// What [`Counters`] say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Forks refused.
    pub tasks: u64,
}

impl Counters {
    /// Reads them; 0 for what is not counted.
    pub fn read(&self) -> Hits {
        let count = |file: &Option<File>, word| {
            let mut text = [0; 1024];
            let length = file.as_ref()?.read_at(&mut text, 0).ok()?;
            behind(std::str::from_utf8(text.get(..length)?).ok()?, word)
        };
        Hits {
            oom_kills: count(&self.oom_kills, "oom_kill").unwrap_or(0),
            tasks: count(&self.tasks, "max").unwrap_or(0),
        }
    }
}

impl Tree {
    /// The counters of a boot.
    pub fn counters(&self, tag: &str) -> Counters {
        let open = |controller, file| File::open(self.folder(controller, tag)?.join(file)).ok();
        Counters {
            oom_kills: open(Controller::Memory, self.kills_file()),
            tasks: open(Controller::Pids, "pids.events"),
        }
    }

    /// The file that counts processes killed for want of memory.
    fn kills_file(&self) -> &'static str {
        match self.version(Controller::Memory) {
            Some(Version::One) => "memory.oom_control",
            _ => "memory.events",
        }
    }

    /// Folder of a boot where a controller is; of all zones for an empty tag.
    pub(super) fn folder(&self, controller: Controller, tag: &str) -> Option<PathBuf> {
        match self.version(controller)? {
            Version::One => self.known().folder(controller.name(Version::One), tag),
            Version::Two => Some(self.zone(tag)),
        }
    }

    pub(super) fn text(&self, controller: Controller, tag: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.folder(controller, tag)?.join(file)).ok()
    }

    /// The number that is all of a file.
    pub(super) fn number(&self, controller: Controller, tag: &str, file: &str) -> Option<u64> {
        let text = self.text(controller, tag, file)?;
        text.trim().trim_start_matches("default ").parse().ok()
    }

    /// The number behind a word at the beginning of a line.
    fn count(&self, controller: Controller, tag: &str, file: &str, word: &str) -> Option<u64> {
        behind(&self.text(controller, tag, file)?, word)
    }

    /// Memory a boot has now, with the page cache.
    pub(super) fn memory(&self, tag: &str) -> Option<u64> {
        self.number(
            Controller::Memory,
            tag,
            match self.version(Controller::Memory)? {
                Version::One => "memory.usage_in_bytes",
                Version::Two => "memory.current",
            },
        )
    }

    /// Memory of a boot that the kernel cannot simply drop: all but the cache of files.
    pub(super) fn memory_held(&self, tag: &str) -> Option<u64> {
        let stat = self.text(Controller::Memory, tag, "memory.stat")?;
        let prefix = match self.version(Controller::Memory)? {
            Version::One => "total_",
            Version::Two => "",
        };
        let files = ["active_file", "inactive_file"].map(|word| behind(&stat, &format!("{prefix}{word}")));
        Some(self.memory(tag)?.saturating_sub(files.into_iter().flatten().sum()))
    }

    /// What a boot has taken. A dozen small files that the kernel answers without adding anything up.
    pub fn taken(&self, tag: &str) -> Taken {
        let (read, written) = self.moved(tag).unzip();
        Taken {
            memory: self.memory(tag),
            oom_kills: self.count(Controller::Memory, tag, self.kills_file(), "oom_kill"),
            tasks: self.tasks(tag),
            task_hits: self.count(Controller::Pids, tag, "pids.events", "max"),
            read,
            written,
            throttled: self.count(Controller::Cpu, tag, "cpu.stat", "nr_throttled"),
        }
    }
}

/// The number behind a word at the beginning of a line.
fn behind(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}
