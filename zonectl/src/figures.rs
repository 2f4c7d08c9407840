//! What lies between two readings of a zone's figures.

use serde::Serialize;
use zoned_api::{
    ZoneStat,
    stat::{CpuStat, Entitlement, IoStat, NetStat, ProcessStat},
};

/// Figures of one zone over an interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Name.
    pub(crate) zone: String,
    /// Length of the interval, seconds.
    pub(crate) seconds: f64,
    /// CPUs used, by eBPF: 1.5 is one and a half CPU.
    pub(crate) cores: f64,
    /// The same as a share of all CPUs of the host, 0 to 100.
    pub(crate) host_percent: f64,
    /// CPUs used by the cgroup's own figure.
    pub(crate) cgroup_cores: Option<f64>,
    /// Times a second that a task gave up the CPU by itself.
    pub(crate) voluntary_per_s: f64,
    /// Times a second that a task was taken off the CPU.
    pub(crate) preempted_per_s: f64,
    /// Tasks waiting for a CPU, on average.
    pub(crate) waiting: f64,
    /// Half of the waits were shorter than this, microseconds; none if there was none.
    pub(crate) wait_p50_us: Option<u64>,
    /// 99 of 100 waits were shorter than this, microseconds.
    pub(crate) wait_p99_us: Option<u64>,
    /// Tasks at the end of the interval.
    pub(crate) tasks: Option<u64>,
    /// Memory at the end of the interval, bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// Bytes read from block devices, a second.
    pub(crate) read_per_s: Option<f64>,
    /// Bytes written to block devices, a second.
    pub(crate) written_per_s: Option<f64>,
    /// Bytes received, a second.
    pub(crate) received_per_s: Option<f64>,
    /// Bytes sent, a second.
    pub(crate) sent_per_s: Option<f64>,
    /// Packets sent that were not the zone's to send, a second.
    pub(crate) dropped_per_s: Option<f64>,
    /// Used of its disk at the end of the interval, bytes.
    pub(crate) disk_bytes: Option<u64>,
    /// Files, folders and links at the end of the interval.
    pub(crate) inodes: Option<u64>,
    /// What it may take of the CPUs.
    pub(crate) entitlement: Option<Entitlement>,
    /// Forks a second.
    pub(crate) forks_per_s: f64,
    /// Execs a second.
    pub(crate) execs_per_s: f64,
}

impl Rates {
    /// From an earlier reading to a later one, on a host of so many CPUs. None if no time lies between them.
    pub(crate) fn between(old: &ZoneStat, new: &ZoneStat, cpus: u64) -> Option<Self> {
        let ns = new.at_ns.checked_sub(old.at_ns).filter(|ns| *ns > 0)?;
        // Counters begin anew with each boot: then what they show is what was taken since.
        let zero = (CpuStat::default(), ProcessStat::default());
        let reset = new.cpu.usage_ns < old.cpu.usage_ns || new.processes.forks < old.processes.forks;
        let (cpu, processes) = if reset { (&zero.0, &zero.1) } else { (&old.cpu, &old.processes) };
        let seconds = ns as f64 / 1e9;
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        let cores = rate(new.cpu.usage_ns, cpu.usage_ns) / 1e9;
        let before = if reset { Some(0) } else { old.cpu.cgroup_usage_ns };
        let moved = |bytes: fn(&IoStat) -> u64| {
            let before = if reset { Some(0) } else { old.io.as_ref().map(bytes) };
            Some(rate(bytes(new.io.as_ref()?), before?))
        };
        let passed = |count: fn(&NetStat) -> u64| {
            let before = if reset { Some(0) } else { old.net.as_ref().map(count) };
            Some(rate(count(new.net.as_ref()?), before?))
        };
        let waits = minus(&new.cpu.wait_log2_us, &cpu.wait_log2_us);
        Some(Self {
            zone: new.zone.clone(),
            seconds,
            cores,
            host_percent: 100.0 * cores / cpus as f64,
            cgroup_cores: new.cpu.cgroup_usage_ns.zip(before).map(|(new, old)| rate(new, old) / 1e9),
            voluntary_per_s: rate(new.cpu.switches_voluntary, cpu.switches_voluntary),
            preempted_per_s: rate(new.cpu.switches_preempted, cpu.switches_preempted),
            waiting: rate(new.cpu.wait_ns, cpu.wait_ns) / 1e9,
            wait_p50_us: percentile(&waits, 50),
            wait_p99_us: percentile(&waits, 99),
            tasks: new.processes.tasks,
            memory_bytes: new.memory.as_ref().map(|memory| memory.bytes),
            read_per_s: moved(|io| io.read_bytes),
            written_per_s: moved(|io| io.written_bytes),
            received_per_s: passed(|net| net.received.total.bytes),
            sent_per_s: passed(|net| net.sent.total.bytes),
            dropped_per_s: passed(|net| net.dropped.values().sum()),
            disk_bytes: new.disk.as_ref().map(|disk| disk.used_bytes),
            inodes: new.disk.as_ref().map(|disk| disk.used_inodes),
            entitlement: new.entitlement.clone(),
            forks_per_s: rate(new.processes.forks, processes.forks),
            execs_per_s: rate(new.processes.execs, processes.execs),
        })
    }
}

fn minus(new: &[u64], old: &[u64]) -> Vec<u64> {
    new.iter().enumerate().map(|(i, n)| n.saturating_sub(old.get(i).copied().unwrap_or(0))).collect()
}

/// Upper end of the bucket in which the percentile lies, microseconds: bucket `i` ends at 2^(i+1), the last one
/// has no end, which shows as `u64::MAX`.
pub(crate) fn percentile(buckets: &[u64], percent: u64) -> Option<u64> {
    let total: u128 = buckets.iter().map(|n| u128::from(*n)).sum();
    let wanted = (total * u128::from(percent)).div_ceil(100).max(1);
    let mut seen = 0;
    let at = buckets.iter().position(|n| {
        seen += u128::from(*n);
        seen >= wanted
    })?;
    if at + 1 == buckets.len() { Some(u64::MAX) } else { 1u64.checked_shl(u32::try_from(at + 1).ok()?) }
}

#[cfg(test)]
mod tests {
    use zoned_api::stat::DiskStat;

    use super::*;

    fn reading(at_s: u64, usage_ms: u64, forks: u64) -> ZoneStat {
        ZoneStat {
            zone: "web".into(),
            at_ns: at_s * 1_000_000_000,
            cpu: CpuStat {
                usage_ns: usage_ms * 1_000_000,
                cgroup_usage_ns: Some(usage_ms * 1_000_000),
                switches_voluntary: usage_ms,
                wait_ns: usage_ms * 500_000,
                wait_log2_us: vec![usage_ms, 0, 10],
                ..CpuStat::default()
            },
            processes: ProcessStat { tasks: Some(4), forks, ..ProcessStat::default() },
            io: Some(IoStat { read_bytes: usage_ms << 10, written_bytes: 0 }),
            disk: Some(DiskStat { used_bytes: usage_ms, ..DiskStat::default() }),
            ..ZoneStat::default()
        }
    }

    #[test]
    fn rates_are_per_second_of_the_interval() {
        let rates = Rates::between(&reading(10, 1000, 5), &reading(14, 7000, 9), 2).unwrap();
        assert_eq!((rates.seconds, rates.cores, rates.host_percent), (4.0, 1.5, 75.0));
        assert_eq!((rates.cgroup_cores, rates.forks_per_s, rates.waiting), (Some(1.5), 1.0, 0.75));
        assert_eq!((rates.wait_p50_us, rates.tasks), (Some(2), Some(4)));
        assert_eq!((rates.read_per_s, rates.memory_bytes), (Some(1500.0 * 1024.0), None));
        assert_eq!((rates.disk_bytes, rates.inodes), (Some(7000), Some(0)));
        assert_eq!(Rates::between(&reading(10, 0, 0), &reading(10, 0, 0), 2), None);
    }

    #[test]
    fn a_boot_between_two_readings_is_no_negative_time() {
        let rates = Rates::between(&reading(0, 9000, 50), &reading(2, 1000, 2), 2).unwrap();
        assert_eq!((rates.cores, rates.cgroup_cores, rates.forks_per_s), (0.5, Some(0.5), 1.0));
    }

    #[test]
    fn percentiles_are_ends_of_buckets() {
        assert_eq!(percentile(&[0, 0, 0], 50), None);
        assert_eq!(percentile(&[99, 1, 0], 99), Some(2));
        assert_eq!(percentile(&[98, 2, 0], 99), Some(4));
        assert_eq!(percentile(&[0, 0, 1], 50), Some(u64::MAX));
        assert_eq!(percentile(&[u64::MAX, u64::MAX, 0], 99), Some(4));
    }
}
