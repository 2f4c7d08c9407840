//! What is in force of a zone's limits, and what it takes of them.

use zoned_api::{
    config::{CpuSet, Limits, Size},
    report::LimitUse,
};

use crate::{
    host::Host,
    platform::cgroup::{CAPS, caps},
    zone::status::Status,
};

/// How often it is looked whether weight and shares agree, while they may be about to change.
const LOOKS: usize = 20;
/// Time between two of them.
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(1);

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
        Some(LimitUse { key: key.into(), limit: limit?, used, hits, note: None })
    };
    let text = |value: Option<u64>| value.map(|n| n.to_string());
    let capped = capped.map(|((key, cap), (now, held))| {
        let cap = if key.ends_with("iops") { text(cap) } else { cap.map(|cap| Size(cap).to_string()) };
        row(key, cap, Some(now), Some(held))
    });
    [
        shares(host, status, &tag, cpu.shares),
        row("cpu.cap", cpu.cap.map(|cap| cap.to_string()), None, taken.throttled),
        cpus(status, cpu.cpus),
        dedicated(host, &tag),
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

/// The CPUs it runs on: those that it was given, less what others have for themselves.
fn cpus(status: &Status, now: Option<CpuSet>) -> Option<LimitUse> {
    let now = now?;
    let less = status.config.cpu.cpus.as_ref().and_then(|given| given.without(&now));
    let note = less.map(|less| format!("{less} dedicated to others"));
    Some(LimitUse { key: "cpu.cpus".into(), limit: now.to_string(), used: None, hits: None, note })
}

/// Whether they are nobody else's.
fn dedicated(host: &Host, tag: &str) -> Option<LimitUse> {
    let note = host.tree.dedication(tag)?.err().map(|why| format!("not kept by the kernel: {why}"));
    Some(LimitUse { key: "cpu.dedicated".into(), limit: "true".into(), used: None, hits: None, note })
}

/// Shares, as they were given: what the group weighs is them, or what they are steered to. Else what it weighs: somebody else
/// has written that.
fn shares(host: &Host, status: &Status, tag: &str, by_weight: Option<u64>) -> Option<LimitUse> {
    let given = status.config.cpu.counted_shares();
    let look = || {
        let (steered, weight) = (host.limits.steered(&status.uuid()), host.tree.weight(tag));
        match steered {
            Some(steered) if Some(steered.weight) == weight => Some((steered.shares, Some(steered.factor))),
            None if weight.is_some() && weight == host.tree.weight_of(given, 1.0) => Some((given, None)),
            // One of both was looked at before a change, the other after it.
            _ => None,
        }
    };
    let found = (0..LOOKS).find_map(|number| {
        if number > 1 {
            // Who changes it may be waiting for a CPU in between.
            std::thread::sleep(BETWEEN);
        }
        look()
    });
    let (shares, factor) = found.or_else(|| Some((by_weight?, None)))?;
    let note = host.cpu.in_force().map(|backend| match factor {
        Some(factor) => format!("kept by {backend}, which has it weigh {:.1} % of them", factor * 100.0),
        None => format!("kept by {backend}"),
    });
    Some(LimitUse { key: "cpu.shares".into(), limit: shares.to_string(), used: None, hits: None, note })
}
