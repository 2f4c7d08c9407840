//! What is in force of a zone's limits, what it takes of them, and what it is entitled to.

use zoned_api::{
    ZoneConfig,
    config::{Limits, Size},
    report::LimitUse,
    stat::Entitlement,
};

use crate::{
    host::Host,
    platform::cgroup::{CAPS, caps},
    zone::status::Status,
};

/// The limits that are in force for a zone that runs, with what it takes of them.
pub fn uses(host: &Host, status: &Status) -> Vec<LimitUse> {
    if status.run.is_none() {
        return Vec::new();
    }
    let tag = status.identity().tag();
    let (Limits { cpu, memory, tasks, io }, taken) = (host.tree.in_force(&tag), host.tree.taken(&tag));
    let disk = host.limits.usage(&status.uuid());
    let rates = host.limits.seen(&status.uuid(), |boot| boot.rates.now.into_iter().zip(boot.rates.held));
    let capped = CAPS.iter().zip(caps(&io)).zip(rates.into_iter().flatten());
    let row = |key: &str, limit: Option<String>, used: Option<u64>, hits: Option<u64>| {
        Some(LimitUse { key: key.into(), limit: limit?, used, hits })
    };
    let text = |value: Option<u64>| value.map(|n| n.to_string());
    let capped = capped.map(|((key, cap), (now, held))| {
        let cap = if key.ends_with("iops") { text(cap) } else { cap.map(|cap| Size(cap).to_string()) };
        row(key, cap, Some(now), Some(held))
    });
    [
        row("cpu.shares", text(cpu.shares), None, None),
        row("cpu.cap", cpu.cap.map(|cap| cap.to_string()), None, taken.throttled),
        row("cpu.cpus", cpu.cpus.map(|cpus| cpus.to_string()), None, None),
        row("memory.limit", memory.limit.map(|s| s.to_string()), taken.memory, taken.oom_kills),
        row("memory.high", memory.high.map(|s| s.to_string()), taken.memory, None),
        row("memory.swap", memory.swap.map(|s| s.to_string()), None, None),
        row("tasks.max", text(tasks.max), taken.tasks, taken.task_hits),
        row("io.weight", text(io.weight), None, None),
        row("root.quota", disk.map(|disk| Size(disk.size).to_string()), disk.map(|disk| disk.bytes), None),
        row("root.inodes", text(disk.map(|disk| disk.most_inodes)), disk.map(|disk| disk.inodes), None),
    ]
    .into_iter()
    .chain(capped)
    .flatten()
    .collect()
}

/// What a zone is entitled to among zones that have `total` shares together, on a host of so many CPUs.
pub fn entitlement(config: &ZoneConfig, total: u64, cpus: usize) -> Entitlement {
    let shares = config.cpu.counted_shares();
    let own = config.cpu.cpus.as_ref().map(|set| set.count() as f64);
    let cap = config.cpu.cap.into_iter().chain(own).reduce(f64::min);
    Entitlement {
        shares,
        share_percent: if shares == 0 { 0.0 } else { 100.0 * shares as f64 / total.max(shares) as f64 },
        cap,
        cap_percent: cap.map(|cap| (100.0 * cap / cpus.max(1) as f64).min(100.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entitlement_is_a_share_of_those_who_run_and_the_lesser_of_cap_and_cpus() {
        let of = |keys: &str, total, cpus| {
            entitlement(&ZoneConfig::parse(&format!("zone: a\ncpu: {{ {keys} }}")).unwrap(), total, cpus)
        };
        let one = of("shares: 300, cap: 1.5, cpus: 0", 400, 2);
        assert_eq!((one.share_percent, one.cap, one.cap_percent), (75.0, Some(1.0), Some(50.0)));
        let idle = of("shares: 0", 0, 2);
        assert_eq!((idle.share_percent, idle.cap, idle.cap_percent), (0.0, None, None));
        assert_eq!(of("cap: 8", 100, 2).cap_percent, Some(100.0));
    }
}
