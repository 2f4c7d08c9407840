//! What a zone may take of the host: CPU, memory, tasks, I/O.
//!
//! A key that is absent limits nothing. Whether a host can enforce one is for the daemon to say; here is checked
//! what no host could.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ZoneConfig,
    cpu_set::{CpuSet, MAX_CPUS},
    is_default,
    size::Size,
};
use crate::error::ApiError;

/// Most shares a zone can have, and the least but for 0: what both versions of the kernel's interface can tell apart.
pub(super) const MAX_SHARES: u64 = 10_000;

/// Shares of a zone that is given none.
pub const DEFAULT_SHARES: u64 = 100;

/// Largest weight for I/O: bfq's.
const MAX_WEIGHT: u64 = 1000;

/// Weight for I/O of a zone that is given none: the kernel's.
pub const DEFAULT_WEIGHT: u64 = 100;

/// Least cap: the kernel hands out CPU time by the millisecond, ten times a second.
const MIN_CAP: f64 = 0.01;

/// Least memory: with less the kernel's own tables for a zone and the way into it do not fit.
const MIN_MEMORY: u64 = 8 << 20;

/// Least bytes a second: with fewer a zone's own start takes minutes.
const MIN_RATE: Size = Size(1 << 20);

/// Least requests a second, for the same reason.
const MIN_IOPS: u64 = 50;

/// Most requests a second: version 1 has 32 bits for them.
const MAX_IOPS: u64 = 1_000_000_000;

/// Least number of tasks: with fewer nobody can log in and look.
const MIN_TASKS: u64 = 8;

/// Most tasks any kernel has room for (PID_MAX_LIMIT).
const MAX_TASKS: u64 = 4 << 20;

/// CPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{ "shares": 300, "cap": 1.5, "cpus": "0-1" }]))]
pub struct Cpu {
    /// Shares of the CPUs, 1 to 10000 and 100 if not given: of two busy zones one with 200 gets twice what one with
    /// 100 gets. 0: only what nobody else wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Most CPU time, in CPUs: 0.5 is half of one, 2 is all of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// CPUs it may run on, by number: `0-1,3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<CpuSet>,
    /// Keep everybody else off these CPUs while it runs: other zones and the host's own processes. Needs `cpus`, and
    /// cgroup version 2.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dedicated: bool,
}

/// Memory. A size is a number of bytes, or one with K, M, G or T (powers of 1024) behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{ "limit": "512M" }]))]
pub struct Memory {
    /// Most memory, with what the kernel keeps for the zone; beyond it processes of the zone are killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Size>,
    /// From here on the zone is slowed down and its memory reclaimed. Needs cgroup version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<Size>,
    /// Most swap space beside the memory; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Size>,
}

/// Tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{ "max": 1024 }]))]
pub struct Tasks {
    /// Most processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// Input and output of block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{ "read": "50M", "write": "20M" }]))]
pub struct Io {
    /// Weight against other zones on the same device, 1 to 1000; 100 if not given. Needs a device with the scheduler
    /// bfq or with io.cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u64>,
    /// Most bytes a second read from each disk its files are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Size>,
    /// Most bytes a second written to each. Needs `root.quota` where the controller is of cgroup version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Size>,
    /// Most requests a second that read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_iops: Option<u64>,
    /// Most requests a second that write, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_iops: Option<u64>,
}

/// All limits of a zone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// CPU.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub tasks: Tasks,
    /// I/O.
    pub io: Io,
}

impl Cpu {
    /// Shares, as they count.
    pub fn counted_shares(&self) -> u64 {
        self.shares.unwrap_or(DEFAULT_SHARES)
    }
}

impl ZoneConfig {
    /// Its limits.
    pub fn limits(&self) -> Limits {
        Limits { cpu: self.cpu.clone(), memory: self.memory.clone(), tasks: self.tasks.clone(), io: self.io }
    }

    /// The same configuration with other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        let Limits { cpu, memory, tasks, io } = limits;
        Self { cpu, memory, tasks, io, ..self }
    }

    /// Refuses limits that no host can keep.
    pub(super) fn check_limits(&self) -> Result<(), ApiError> {
        let Self { cpu, memory, tasks, io, .. } = self;
        let shares =
            "shares count against those of the other zones: 200 is twice as much as 100, the default";
        within("cpu.shares", cpu.shares, 0, MAX_SHARES, shares)?;
        let cap = cpu.cap.filter(|cap| !(MIN_CAP..=f64::from(MAX_CPUS)).contains(cap));
        refuse("cpu.cap", cap.map(|cap| format!("{cap} is not between {MIN_CAP} and {MAX_CPUS} CPUs")), {
            "give a number of CPUs, like 0.5 or 2, or take the key away for no cap"
        })?;
        let nowhere = cpu.dedicated && cpu.cpus.is_none();
        refuse("cpu.dedicated", nowhere.then(|| "which CPUs it has for itself is not said".to_owned()), {
            "give cpu.cpus too, like 2-3, or take the key away"
        })?;
        let small = |size: &&Size| size.0 < MIN_MEMORY;
        for (key, size) in [("memory.limit", memory.limit), ("memory.high", memory.high)] {
            let why = size.as_ref().filter(small).map(|size| {
                format!("{size} is too little for a zone to start in; {} is the least", Size(MIN_MEMORY))
            });
            refuse(key, why, "give a size like 512M or 2G, or take the key away for no limit")?;
        }
        if let (Some(limit), Some(high)) = (memory.limit, memory.high) {
            let why = format!("{high} is above memory.limit, {limit}, and would never be reached");
            refuse("memory.high", (high > limit).then_some(why), "give less than the limit")?;
        }
        within("tasks.max", tasks.max, MIN_TASKS, MAX_TASKS, "take the key away for no limit")?;
        within("io.weight", io.weight, 1, MAX_WEIGHT, "weights count against those of the other zones")?;
        for (key, rate) in [("io.read", io.read), ("io.write", io.write)] {
            let slow = rate.filter(|rate| *rate < MIN_RATE);
            let why =
                slow.map(|rate| format!("{rate} a second is too little for a zone; {MIN_RATE} is the least"));
            refuse(key, why, "give bytes a second like 50M, or take the key away for no cap")?;
        }
        for (key, iops) in [("io.read-iops", io.read_iops), ("io.write-iops", io.write_iops)] {
            within(key, iops, MIN_IOPS, MAX_IOPS, "give requests a second, or take the key away for no cap")?;
        }
        Ok(())
    }
}

fn within(key: &str, value: Option<u64>, least: u64, most: u64, hint: &str) -> Result<(), ApiError> {
    let out = value.filter(|n| !(least..=most).contains(n));
    refuse(key, out.map(|n| format!("{n} is not between {least} and {most}")), hint)
}

fn refuse(key: &str, why: Option<String>, hint: &str) -> Result<(), ApiError> {
    match why {
        None => Ok(()),
        Some(why) => Err(ApiError::invalid(format!("configuration: {key}: {why}"), Some(hint.into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &str) -> Result<Limits, String> {
        let parsed = ZoneConfig::parse(&format!("zone: a\n{keys}"));
        parsed.map(|config| config.limits()).map_err(|e| e.to_string())
    }

    #[test]
    fn limits_are_read_and_written_alike() {
        let text = "zone: a\ncpu: { shares: 0, cap: 1.5, cpus: 1, dedicated: true }\nmemory: { limit: 512M, high: 470000K, swap: 0 }\n\
                    tasks: { max: 64 }\nio: { weight: 7, read: 50M, write-iops: 300 }";
        let config = ZoneConfig::parse(text).unwrap();
        let limits = config.limits();
        assert_eq!(
            (limits.cpu.counted_shares(), limits.cpu.cap, limits.memory.swap),
            (0, Some(1.5), Some(Size(0)))
        );
        assert_eq!(limits.memory.limit, Some(Size(512 << 20)));
        let yaml = config.to_yaml().unwrap();
        assert!(yaml.contains("limit: 512M") && yaml.contains("cpus: 1"), "{yaml}");
        assert!(yaml.contains("dedicated: true") && limits.cpu.dedicated, "{yaml}");
        assert_eq!(ZoneConfig::parse(&yaml).unwrap(), config);
        assert_eq!(parse("").unwrap().cpu.counted_shares(), 100);
        assert!(!ZoneConfig::parse("zone: a").unwrap().to_yaml().unwrap().contains("cpu"));
    }

    #[test]
    fn what_no_host_can_keep_is_refused_by_its_key() {
        let cases = [
            ("cpu: { shares: 1000000000 }", "cpu.shares: 1000000000 is not between 0 and 10000"),
            ("cpu: { shares: -1 }", "line 2"),
            ("cpu: { cap: 0 }", "cpu.cap: 0 is not between 0.01 and 8192 CPUs"),
            ("cpu: { cap: .nan }", "cpu.cap: NaN is not"),
            ("cpu: { cap: .inf }", "cpu.cap: inf is not"),
            ("cpu: { cpus: 1-0 }", "is no list of CPUs"),
            ("cpu: { cpus: 0-99999999 }", "is no list of CPUs"),
            ("cpu: { cpus: '' }", "is no list of CPUs"),
            ("cpu: { dedicated: true }", "cpu.dedicated: which CPUs it has for itself is not said"),
            ("cpu: { cpus: 1, dedicated: 1 }", "`cpu.dedicated` takes true or false"),
            ("memory: { limit: 1M }", "memory.limit: 1M is too little"),
            ("memory: { limit: 512MB }", "\"512MB\" is no size"),
            ("memory: { limit: 99999999T }", "99999999T is more than can be counted"),
            ("memory: { swap: -1 }", "\"-1\" is no size"),
            ("memory: { limit: 1.5 }", "\"1.5\" is no size"),
            ("memory: { limit: 64M, high: 65M }", "memory.high: 65M is above memory.limit, 64M"),
            ("tasks: { max: 1 }", "tasks.max: 1 is not between 8 and 4194304"),
            ("io: { read: 4K }", "io.read: 4K a second is too little for a zone; 1M is the least"),
            ("io: { write: -1 }", "\"-1\" is no size"),
            ("io: { write-iops: 5 }", "io.write-iops: 5 is not between 50 and 1000000000"),
            ("io: { weight: 0 }", "io.weight: 0 is not between 1 and 1000"),
            ("cpu: { share: 1 }", "unknown field `share`"),
        ];
        for (keys, says) in cases {
            let said = parse(keys).unwrap_err();
            assert!(said.contains(says), "{keys}: {said}");
        }
    }
}
