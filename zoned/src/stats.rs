//! A zone's figures, put together from those who count: eBPF programs, cgroups, and the monitor's word.
//!
//! Reads only; every reader gets the same figures, none keeps any.

use uuid::Uuid;
use zoned_api::{
    ApiError, ZoneStat,
    stat::{CpuStat, ProcessStat, WAIT_BUCKETS},
};

use crate::{
    host::Host,
    zone::{status::Status, zones::Zones},
};

/// Figures of one zone, or of `global` and all zones by name.
pub fn collect(zones: &Zones, of: Option<Uuid>) -> Result<Vec<ZoneStat>, ApiError> {
    let host = &zones.host;
    let all = zones.all();
    let at_ns = monotonic_ns();
    let mut figures = host.metering.figures()?;
    let mut stats = Vec::new();
    if of.is_none() {
        let (cpu, processes) = figures.remove(&None).unwrap_or_default();
        stats.push(ZoneStat { zone: "global".into(), state: None, at_ns, cpu, processes });
    }
    for zone in all.iter().filter(|z| of.is_none_or(|uuid| z.uuid() == uuid)) {
        // A zone that does not run has taken nothing since it was booted: it was not.
        let (cpu, processes) = match &zone.run {
            Some(_) => figures.remove(&Some(zone.uuid())).unwrap_or_default(),
            None => Default::default(),
        };
        stats.push(of_zone(host, zone, at_ns, cpu, processes));
    }
    Ok(stats)
}

fn of_zone(host: &Host, zone: &Status, at_ns: u64, mut cpu: CpuStat, mut processes: ProcessStat) -> ZoneStat {
    if zone.run.is_some() {
        let tag = zone.identity().tag();
        cpu.cgroup_usage_ns = host.tree.usage_ns(&tag);
        processes.tasks = host.tree.tasks(&tag);
    }
    cpu.wait_log2_us.resize(WAIT_BUCKETS, 0);
    ZoneStat { zone: zone.config.zone.to_string(), state: Some(zone.state), at_ns, cpu, processes }
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
