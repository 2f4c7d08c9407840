//! Limits: which files say them, and writing them.
//!
//! [`settings`] is the policy, as data, for both versions; it looks at nothing but what [`Sight`] shows of the host.
//! The files are in the zone's group of the host's, above what is delegated to the zone, and stay the host's root's.
//!
//! Shares are linear in both versions: weight is shares × 10 in version 1 (of 2..262144) and shares × 1 in version 2
//! (of 1..10000), in the kernel's terms the same, so that 10:1 asked is 10:1 given. A group with `cpu.idle` weighs 3 of
//! version 1's units, 0.3 of a share.

use std::{fs, io, path::PathBuf};

use zoned_api::config::{CpuSet, DEFAULT_WEIGHT, Limits, Size};

use super::{
    Tree,
    controllers::{Controller, Sight, Version, bfq_devices},
};

/// Weight of one share in version 1.
pub(super) const V1_PER_SHARE: u64 = 10;

/// Period of a cap in microseconds, the kernel's own.
pub(super) const PERIOD_US: u64 = 100_000;

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

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Key of the configuration it comes from.
    key: &'static str,
    controller: Controller,
    file: &'static str,
    /// None takes what the group above has.
    value: Option<String>,
}

/// The files that say these limits, in an order in which each may be written. In a group that was just `made` nothing
/// is set, and what limits nothing is left out.
pub(super) fn settings(host: &impl Sight, limits: &Limits, made: bool) -> Result<Vec<Setting>, LimitError> {
    let mut all = Vec::new();
    for part in [cpu, cpuset, memory, tasks, weight] {
        part(&mut Draft { host, made, all: &mut all }, limits)?;
    }
    Ok(all)
}

struct Draft<'a, H> {
    host: &'a H,
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
            let value = value.or_else(|| Some(none.to_owned()));
            self.all.push(Setting { key, controller, file, value });
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
            let (file, weight) = match version {
                Version::One => ("cpu.shares", shares * V1_PER_SHARE),
                Version::Two => ("cpu.weight", shares),
            };
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
    } else if version == Version::Two {
        draft.put(key, controller, "cpuset.cpus", None, "\n");
    } else if !draft.made {
        draft.all.push(Setting { key, controller, file: "cpuset.cpus", value: None });
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

fn weight<H: Sight>(draft: &mut Draft<'_, H>, limits: &Limits) -> Result<(), LimitError> {
    let (key, weight) = ("io.weight", limits.io.weight);
    // Nothing is looked for where nothing is asked: no weight was ever set, or it went with the scheduler.
    if weight.is_none() && draft.made {
        return Ok(());
    }
    let files = match draft.version(key, Controller::Io, weight.is_some())? {
        Some(_) => draft.host.weight_files(),
        None => return Ok(()),
    };
    if weight.is_some() && files.is_empty() {
        let why = "no block device of this host shares by weight";
        let hint = "write bfq to /sys/block/DEVICE/queue/scheduler, or take the key away";
        return Err(unsupported(key, why, hint));
    }
    for file in files {
        draft.put(key, Controller::Io, file, weight.map(|n| n.to_string()), &DEFAULT_WEIGHT.to_string());
    }
    Ok(())
}

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

    /// Whether this host can enforce all of these.
    pub fn can_limit(&self, limits: &Limits) -> Result<(), LimitError> {
        settings(self, limits, true).map(drop)
    }

    /// Writes the limits of a boot whose groups were just made; nothing runs in them yet.
    pub fn limit_new(&self, tag: &str, limits: &Limits) -> Result<(), LimitError> {
        settings(self, limits, true)?.iter().try_for_each(|setting| self.write(tag, setting))
    }

    /// Writes the limits of a boot, where they are not in force already. What is in use is looked at before anything
    /// is written; on an error some of it may be.
    pub fn limit(&self, tag: &str, limits: &Limits) -> Result<(), LimitError> {
        let mut settings = settings(self, limits, false)?;
        self.refuse_below_use(tag, limits)?;
        self.order(tag, &mut settings);
        settings.iter().try_for_each(|setting| self.write(tag, setting))
    }

    /// Version 1 holds memory below memory and swap together at any moment: whichever makes room goes first.
    fn order(&self, tag: &str, settings: &mut [Setting]) {
        let at = |file: &str| settings.iter().position(|s| s.file == file);
        let both = at("memory.limit_in_bytes").zip(at("memory.memsw.limit_in_bytes"));
        let Some((limit, total)) = both else { return };
        // -1, none, is no number and more than any.
        let now = self.number(Controller::Memory, tag, "memory.limit_in_bytes").unwrap_or(0);
        let asked = settings.get(total).and_then(|s| s.value.as_ref()?.parse::<u64>().ok());
        if asked.is_none_or(|asked| asked >= now) {
            settings.swap(limit, total);
        }
    }

    fn refuse_below_use(&self, tag: &str, limits: &Limits) -> Result<(), LimitError> {
        let below = |key, limit: String, used: String| Err(LimitError::Below { key, limit, used });
        if let Some(limit) = limits.memory.limit
            && let Some(used) = self.memory_held(tag).filter(|used| *used > limit.0)
        {
            return below(
                "memory.limit",
                limit.to_string(),
                Size(used.next_multiple_of(1 << 20)).to_string(),
            );
        }
        if let Some(max) = limits.tasks.max
            && let Some(used) = self.tasks(tag).filter(|used| *used > max)
        {
            return below("tasks.max", max.to_string(), used.to_string());
        }
        Ok(())
    }

    fn write(&self, tag: &str, setting: &Setting) -> Result<(), LimitError> {
        let Setting { key, controller, file, value } = setting;
        let Some(folder) = self.folder(*controller, tag) else { return Ok(()) };
        let path = folder.join(file);
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let value = match value {
            Some(value) => value.clone(),
            None => folder.parent().map(|above| read(&above.join(file))).unwrap_or_default(),
        };
        if read(&path) == value.trim() {
            return Ok(());
        }
        tracing::debug!(path = %path.display(), value, "limit");
        fs::write(&path, &value).map_err(|source| match source.raw_os_error() {
            // Version 1: it could not be reclaimed.
            Some(libc::EBUSY) if *controller == Controller::Memory => LimitError::Below {
                key,
                limit: value.parse().map_or(value.clone(), |bytes| Size(bytes).to_string()),
                used: self.memory(tag).map_or_else(|| "memory".into(), |bytes| Size(bytes).to_string()),
            },
            _ => LimitError::Write { key, value: value.clone(), path, source },
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
        // Version 1 says none by a number that no host has.
        let size = |file: &str| number(memory, file).filter(|n| *n < 1 << 62).map(Size);
        limits.memory.limit = size("memory.max").or(size("memory.limit_in_bytes"));
        limits.memory.high = size("memory.high");
        let both = size("memory.memsw.limit_in_bytes").zip(limits.memory.limit);
        limits.memory.swap =
            size("memory.swap.max").or(both.map(|(both, of)| Size(both.0.saturating_sub(of.0))));
        limits.tasks.max = number(Controller::Pids, "pids.max");
        limits.io.weight = self
            .weight_files()
            .into_iter()
            .find_map(|file| number(Controller::Io, file))
            .filter(|weight| *weight != DEFAULT_WEIGHT);
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

#[cfg(test)]
mod tests {
    use zoned_api::ZoneConfig;

    use super::*;

    /// A host as told.
    struct Told {
        version: Option<Version>,
        missing: &'static [&'static str],
        weighs: Vec<&'static str>,
    }

    impl Sight for Told {
        fn version(&self, _: Controller) -> Option<Version> {
            self.version
        }
        fn has(&self, _: Controller, file: &str) -> bool {
            !self.missing.contains(&file)
        }
        fn cpus(&self) -> CpuSet {
            CpuSet::parse("0-3").unwrap()
        }
        fn weight_files(&self) -> Vec<&'static str> {
            self.weighs.clone()
        }
    }

    fn host(version: Option<Version>) -> Told {
        Told { version, missing: &[], weighs: vec![] }
    }

    fn files(host: &Told, keys: &str, made: bool) -> String {
        let limits = ZoneConfig::parse(&format!("zone: a\n{keys}")).unwrap().limits();
        let shown = |s: &Setting| format!("{}={}", s.file, s.value.as_deref().unwrap_or("^").trim());
        match settings(host, &limits, made) {
            Ok(all) => all.iter().map(shown).collect::<Vec<_>>().join(" "),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn a_zone_without_limits_writes_its_shares_alone() {
        assert_eq!(files(&host(Some(Version::One)), "", true), "cpu.shares=1000");
        assert_eq!(files(&host(Some(Version::Two)), "", true), "cpu.weight=100");
        assert_eq!(files(&host(None), "", true), "");
    }

    #[test]
    fn shares_are_linear_over_their_whole_range_in_both_versions() {
        for (shares, one) in [(1, 10), (10, 100), (10_000, 100_000)] {
            let keys = format!("cpu: {{ shares: {shares} }}");
            assert_eq!(files(&host(Some(Version::One)), &keys, true), format!("cpu.shares={one}"));
            assert_eq!(files(&host(Some(Version::Two)), &keys, true), format!("cpu.weight={shares}"));
        }
        assert_eq!(files(&host(Some(Version::Two)), "cpu: { shares: 0 }", true), "cpu.idle=1");
    }

    const ALL: &str =
        "cpu: { shares: 5, cap: 0.5, cpus: 0-1 }\nmemory: { limit: 64M, swap: 1M }\ntasks: { max: 9 }";

    #[test]
    fn every_limit_has_its_file_in_each_version() {
        assert_eq!(
            files(&host(Some(Version::One)), ALL, true),
            "cpu.shares=50 cpu.cfs_quota_us=50000 cpuset.cpus=0-1 memory.limit_in_bytes=67108864 \
             memory.memsw.limit_in_bytes=68157440 pids.max=9"
        );
        assert_eq!(
            files(&host(Some(Version::Two)), ALL, true),
            "cpu.weight=5 cpu.max=50000 100000 cpuset.cpus=0-1 memory.max=67108864 memory.swap.max=1048576 pids.max=9"
        );
    }

    #[test]
    fn a_key_taken_away_takes_its_limit_away() {
        let weighs = Told { weighs: vec!["blkio.bfq.weight"], ..host(Some(Version::One)) };
        assert_eq!(
            files(&weighs, "", false),
            "cpu.idle=0 cpu.shares=1000 cpu.cfs_quota_us=-1 cpuset.cpus=^ memory.limit_in_bytes=-1 \
             memory.memsw.limit_in_bytes=-1 pids.max=max blkio.bfq.weight=100"
        );
        assert_eq!(
            files(&host(Some(Version::Two)), "", false),
            "cpu.idle=0 cpu.weight=100 cpu.max=max 100000 cpuset.cpus= memory.high=max memory.max=max \
             memory.swap.max=max pids.max=max"
        );
    }

    #[test]
    fn what_a_host_cannot_enforce_is_refused_with_the_reason() {
        let (one, two) = (host(Some(Version::One)), host(Some(Version::Two)));
        let bare = Told { missing: &["cpu.idle", "cpu.max", "memory.swap.max"], ..host(Some(Version::Two)) };
        let cases = [
            (&host(None), "cpu: { cap: 1 }", "cpu.cap: this host has no cpu controller for zones"),
            (&host(None), "memory: { swap: 0 }", "memory.swap: this host has no memory controller"),
            (&one, "memory: { high: 64M }", "version 1, which slows nobody down"),
            (&one, "memory: { swap: 0 }", "memory and swap together"),
            (&two, "cpu: { cpus: 2-5 }", "cpu.cpus: this host's zones have no CPU 4-5, only 0-3"),
            (&two, "io: { weight: 5 }", "no block device of this host shares by weight"),
            (&bare, "cpu: { shares: 0 }", "cpu.idle"),
            (&bare, "cpu: { cap: 1 }", "built without caps"),
            (&bare, "memory: { swap: 1M }", "does not count swap space"),
        ];
        for (host, keys, says) in cases {
            assert!(files(host, keys, true).contains(says), "{keys}: {}", files(host, keys, true));
        }
    }
}
