//! A zone's figures, put together from those who count: eBPF programs, cgroups, and the monitor's word.
//!
//! Reads only; every reader gets the same figures, none keeps any.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;
use zoned_api::{
    ApiError, State, ZoneStat,
    config::{Cpu, GLOBAL},
    stat::{DiskStat, Entitlement, IoStat, MemoryStat, WAIT_BUCKETS},
};

use crate::{
    cpu::{Flow, entitlements},
    host::Host,
    metering::Metered,
    zone::{status::Status, zones::Zones},
};

/// Figures of one zone, or of `global` and all zones by name.
pub fn collect(zones: &Zones, of: Option<Uuid>) -> Result<Vec<ZoneStat>, ApiError> {
    let host = &zones.host;
    let all = zones.all();
    let mut entitled = entitled(host, &all);
    let at_ns = monotonic_ns();
    let mut figures = host.metering.figures()?;
    let mut stats = Vec::new();
    if of.is_none() {
        let Metered { cpu, processes, .. } = figures.remove(&None).unwrap_or_default();
        let entitlement = entitled.remove(&None);
        stats.push(ZoneStat { cpu, processes, entitlement, ..blank(GLOBAL.into(), at_ns) });
    }
    for zone in all.iter().filter(|z| of.is_none_or(|uuid| z.uuid() == uuid)) {
        // A zone that does not run has taken nothing since it was booted: it was not.
        let Metered { cpu, processes, net } = match &zone.run {
            Some(_) => figures.remove(&Some(zone.uuid())).unwrap_or_default(),
            None => Default::default(),
        };
        let linked = zone.config.has_links() || zone.config.is_on_host_network();
        let net = (linked && zone.run.is_some()).then_some(net);
        let entitlement = entitled.remove(&Some(zone.uuid()));
        stats.push(of_zone(
            host,
            zone,
            ZoneStat { cpu, processes, net, entitlement, ..blank(zone.config.zone.to_string(), at_ns) },
        ));
    }
    Ok(stats)
}

/// What each zone that runs is entitled to, and `global`, which has no UUID, where its shares are kept.
pub fn entitled(host: &Host, all: &[Arc<Status>]) -> HashMap<Option<Uuid>, Entitlement> {
    let global = host.cpu.global_cpu();
    let flows = flows(&global, all);
    let running = all.iter().filter(|zone| zone.state == State::Running);
    let whose = global.iter().map(|_| None).chain(running.map(|zone| Some(zone.uuid())));
    let kept_by = host.cpu.in_force().map(|backend| backend.to_string());
    let entitled = entitlements(&flows, &host.tree.cpus()).into_iter();
    whose.zip(entitled.map(|e| Entitlement { kept_by: kept_by.clone(), ..e })).collect()
}

/// Who has a part of the CPUs: `global` where its shares are kept, and the zones that run.
pub fn flows<'a>(global: &'a Option<Cpu>, all: &'a [Arc<Status>]) -> Vec<Flow<'a>> {
    let running = all.iter().filter(|zone| zone.state == State::Running);
    let zones = running.map(|zone| Flow { name: zone.config.zone.as_str(), cpu: &zone.config.cpu });
    global.iter().map(|cpu| Flow { name: GLOBAL, cpu }).chain(zones).collect()
}

fn blank(zone: String, at_ns: u64) -> ZoneStat {
    ZoneStat { zone, at_ns, ..ZoneStat::default() }
}

fn of_zone(host: &Host, zone: &Status, mut stat: ZoneStat) -> ZoneStat {
    stat.state = Some(zone.state);
    stat.cpu.wait_log2_us.resize(WAIT_BUCKETS, 0);
    if zone.run.is_none() {
        return stat;
    }
    let tag = zone.identity().tag();
    let (config, taken) = (&zone.config, host.tree.taken(&tag));
    stat.cpu.cgroup_usage_ns = host.tree.usage_ns(&tag);
    stat.processes.tasks = taken.tasks;
    stat.processes.max = config.tasks.max;
    stat.processes.refused = taken.task_hits.unwrap_or(0);
    stat.memory = taken.memory.map(|bytes| MemoryStat {
        bytes,
        limit: config.memory.limit.map(|size| size.0),
        oom_kills: taken.oom_kills.unwrap_or(0),
    });
    let later = host.limits.uncharged(host, &zone.uuid());
    stat.io = taken
        .read
        .zip(taken.written)
        .map(|(read_bytes, written)| IoStat { read_bytes, written_bytes: written.saturating_add(later) });
    stat.disk = host.limits.usage(&zone.uuid()).map(|disk| DiskStat {
        used_bytes: disk.bytes,
        limit_bytes: disk.size,
        used_inodes: disk.inodes,
        limit_inodes: disk.most_inodes,
    });
    stat
}

/// Now, by the clock that `at_ns` is of, nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
