//! A zone's figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::State;

/// Number of buckets of [`CpuStat::wait_log2_us`].
pub const WAIT_BUCKETS: usize = 26;

/// What one zone has taken since it was booted (or, for `global`, since the programs were loaded).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Memory; none for `global` and where the host counts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStat>,
    /// Block devices; none for `global` and where the host counts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<IoStat>,
    /// Network; none for `global` and for a zone that has no interface but its loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<NetStat>,
    /// What it has written; none for `global`, for a zone without a quota, whose files nobody counts, and for one that
    /// does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskStat>,
    /// What it may take of the CPUs; none for a zone that does not run, and for `global` where nothing keeps its shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitlement: Option<Entitlement>,
}

/// Memory figures, the kernel's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStat {
    /// In use now, with the page cache, bytes.
    pub bytes: u64,
    /// The limit, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
}

/// Figures of block devices, the kernel's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoStat {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// Network figures, by eBPF, of all interfaces but the loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetStat {
    /// What came to the zone.
    pub received: TrafficStat,
    /// What came from it, dropped or not.
    pub sent: TrafficStat,
    /// Packets of those that were not its to send, by reason: `mac`, `ethertype`, `arp`, `address`, `neighbour`, `router`,
    /// `redirect`, `dhcp`, `route`, `malformed`. Those there were none of are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
}

/// Traffic in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStat {
    /// Packets and bytes of every protocol.
    #[serde(flatten)]
    pub total: PacketStat,
    /// Of each protocol there was any of: `tcp`, `udp`, `icmp` (ICMPv6 too), `arp`, `other` (what was dropped too).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub protocols: BTreeMap<String, PacketStat>,
}

/// Packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketStat {
    /// How many, as the kernel hands them on: several segments in one where it joins them.
    pub packets: u64,
    /// Their bytes: with the Ethernet header on the bridge, from the IP header on where there is no link of the zone's own
    /// on the host (modes `host` and `macvlan`).
    pub bytes: u64,
}

/// How full a zone's disk is, by its file system's own counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStat {
    /// Bytes that it cannot write any more, with what the file system itself takes.
    pub used_bytes: u64,
    /// The quota this boot began with, bytes.
    pub limit_bytes: u64,
    /// Files, folders and links, with the few of the file system itself.
    pub used_inodes: u64,
    /// How many there can be.
    pub limit_inodes: u64,
}

/// What a zone, or `global`, may take of the CPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entitlement {
    /// Its shares.
    pub shares: u64,
    /// Its part of the shares of all zones that run, and of `global` where its shares are kept, 0 to 100: what it gets when
    /// all of them are busy.
    pub share_percent: f64,
    /// What it gets when all of them want all they may have, in CPUs: its part, without what others cannot use for their
    /// caps and CPUs, and with what they leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Most CPUs, by its cap and the number of CPUs it may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// The same as a part of all CPUs, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_percent: Option<f64>,
    /// What keeps shares on this host: `fss`, `deficit` or `shares`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<String>,
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
    /// The limit of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Forks refused at the limit.
    #[serde(default)]
    pub refused: u64,
    /// Forks counted by eBPF.
    pub forks: u64,
    /// Execs counted by eBPF.
    pub execs: u64,
    /// Exits counted by eBPF.
    pub exits: u64,
}
