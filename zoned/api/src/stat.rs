//! A zone's figures.

use serde::{Deserialize, Serialize};

use crate::state::State;

/// Number of buckets of [`CpuStat::wait_log2_us`].
pub const WAIT_BUCKETS: usize = 26;

/// What one zone has taken since it was booted (or, for `global`, since the programs were loaded).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneStat {
    /// Name; `global` is the host with everything that is in no zone.
    pub zone: String,
    /// State when the figures were read; none for `global`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Nanoseconds of the monotonic clock when the figures were read.
    pub at_ns: u64,
    /// CPU.
    pub cpu: CpuStat,
    /// Processes.
    pub processes: ProcessStat,
}

/// CPU figures, from eBPF beside the kernel's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuStat {
    /// CPU time by eBPF, nanoseconds, summed over all CPUs.
    pub usage_ns: u64,
    /// CPU time by the zone's cgroup (`cpu.stat` or `cpuacct.usage`), nanoseconds; none where the host keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_usage_ns: Option<u64>,
    /// Times a task of the zone gave up the CPU by itself.
    pub switches_voluntary: u64,
    /// Times a task of the zone was taken off the CPU while it could still run.
    pub switches_preempted: u64,
    /// Time tasks of the zone waited in a run queue, nanoseconds.
    pub wait_ns: u64,
    /// Number of waits whose length was in [2^i, 2^(i+1)) microseconds; the first bucket also holds shorter
    /// ones, the last also longer ones. [`WAIT_BUCKETS`] buckets.
    pub wait_log2_us: Vec<u64>,
}

/// Process figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStat {
    /// Tasks now in the zone's cgroup; none for `global`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Forks counted by eBPF.
    pub forks: u64,
    /// Execs counted by eBPF.
    pub execs: u64,
    /// Exits counted by eBPF.
    pub exits: u64,
}
