//! What zones, and `global` where its shares are kept, are entitled to, now and after a change. Pure.

use zoned_api::{
    config::{Cpu, CpuSet, GLOBAL},
    report::Shift,
    stat::Entitlement,
};

use super::{dedicated::apart, steer::claim};

/// Somebody who has a part of the CPUs: a zone, or `global`.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// Name.
    pub name: &'a str,
    /// Shares, cap, CPUs.
    pub cpu: &'a Cpu,
}

/// What each of these is entitled to when all of them want all they may have, on a host with these CPUs.
pub fn entitlements(flows: &[Flow<'_>], cpus: &CpuSet) -> Vec<Entitlement> {
    let flows = apart(&flows.iter().map(|flow| flow.cpu).collect::<Vec<_>>(), cpus);
    let claims: Vec<_> = flows.iter().map(claim).collect();
    let filled = fairness::fill(&claims, cpus.numbers(), cpus.count() as f64);
    let total: u64 = claims.iter().map(|claim| claim.shares).sum();
    flows.iter().zip(filled).map(|(cpu, entitled)| entitlement(cpu, total, cpus, entitled)).collect()
}

fn entitlement(cpu: &Cpu, total: u64, cpus: &CpuSet, entitled: f64) -> Entitlement {
    let shares = cpu.counted_shares();
    let own = cpu.cpus.as_ref().map(|set| set.count() as f64);
    let cap = cpu.cap.into_iter().chain(own).reduce(f64::min);
    Entitlement {
        shares,
        share_percent: if shares == 0 { 0.0 } else { 100.0 * shares as f64 / total.max(shares) as f64 },
        cpus: Some(entitled),
        cap,
        cap_percent: cap.map(|cap| (100.0 * cap / cpus.count().max(1) as f64).min(100.0)),
        kept_by: None,
    }
}

/// What each of those that run is entitled to, before one has another configuration and after. That one is told too if it
/// does not run: as if it was booted with that. `global` comes first, then all by name.
pub fn what_if(running: &[Flow<'_>], next: Flow<'_>, cpus: &CpuSet) -> Vec<Shift> {
    let before = entitlements(running, cpus);
    let is_it = |flow: &&Flow<'_>| flow.name == next.name;
    let mut then: Vec<_> = running.iter().map(|flow| if is_it(&flow) { next } else { *flow }).collect();
    if !running.iter().any(|flow| is_it(&flow)) {
        then.push(next);
    }
    let before = before.into_iter().map(Some).chain([None]);
    let shifts = then.iter().zip(before).zip(entitlements(&then, cpus));
    let mut shifts: Vec<_> =
        shifts.map(|((flow, before), after)| Shift { zone: flow.name.to_owned(), before, after }).collect();
    shifts.sort_by(|a, b| (a.zone != GLOBAL, &a.zone).cmp(&(b.zone != GLOBAL, &b.zone)));
    shifts
}

#[cfg(test)]
mod tests {
    use zoned_api::ZoneConfig;

    use super::*;

    fn cpu(keys: &str) -> Cpu {
        ZoneConfig::parse(&format!("zone: a\ncpu: {{ {keys} }}")).unwrap().cpu
    }

    fn flow<'a>(name: &'a str, cpu: &'a Cpu) -> Flow<'a> {
        Flow { name, cpu }
    }

    fn two() -> CpuSet {
        CpuSet::parse("0-1").unwrap()
    }

    #[test]
    fn entitlement_is_a_share_of_those_who_run_and_the_lesser_of_cap_and_cpus() {
        let (one, other) = (cpu("shares: 300, cap: 1.5, cpus: 0"), cpu(""));
        let all = entitlements(&[flow("a", &one), flow("b", &other)], &two());
        assert_eq!((all[0].share_percent, all[0].cap, all[0].cap_percent), (75.0, Some(1.0), Some(50.0)));
        assert_eq!((all[0].cpus, all[1].cpus), (Some(1.0), Some(1.0)), "more than its CPU it cannot have");
        let idle = cpu("shares: 0");
        let idle = &entitlements(&[flow("a", &idle)], &two())[0];
        assert_eq!((idle.share_percent, idle.cap, idle.cap_percent, idle.cpus), (0.0, None, None, Some(2.0)));
        let capped = cpu("cap: 8");
        assert_eq!(entitlements(&[flow("a", &capped)], &two())[0].cap_percent, Some(100.0));
    }

    fn thousandths(e: &Entitlement) -> u64 {
        (e.cpus.unwrap() * 1000.0).round() as u64
    }

    #[test]
    fn what_is_dedicated_is_lost_to_the_others() {
        let (a, b, c) = (cpu("shares: 1, cpus: 1"), cpu(""), cpu("shares: 300, cpus: 0-1"));
        let dedicated = cpu("shares: 1, cpus: 1, dedicated: true");
        let shifts = what_if(&[flow("a", &a), flow("b", &b), flow("c", &c)], flow("a", &dedicated), &two());
        assert!(shifts[0].before.as_ref().unwrap().cpus < Some(0.1));
        let after: Vec<_> = shifts.iter().map(|shift| (shift.after.cpus, shift.after.cap)).collect();
        assert_eq!(after, [(Some(1.0), Some(1.0)), (Some(0.25), Some(1.0)), (Some(0.75), Some(1.0))]);
    }

    #[test]
    fn a_change_moves_everybody() {
        let (a, b, c) = (cpu("shares: 100"), cpu("shares: 100"), cpu("shares: 200"));
        let more = cpu("shares: 600");
        let shifts = what_if(&[flow("a", &a), flow("c", &c)], flow("a", &more), &two());
        let moved = shifts.iter().map(|s| (thousandths(s.before.as_ref().unwrap()), thousandths(&s.after)));
        assert_eq!(moved.collect::<Vec<_>>(), [(667, 1500), (1333, 500)]);
        let shifts = what_if(&[flow("a", &a), flow("c", &c)], flow("b", &b), &two());
        assert_eq!(shifts.iter().map(|s| s.zone.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((shifts[1].before.as_ref(), thousandths(&shifts[1].after)), (None, 500));
    }

    #[test]
    fn the_hosts_own_processes_are_one_more() {
        let (global, a, more) = (cpu("shares: 100"), cpu("shares: 100, cpus: 0"), cpu("shares: 300"));
        let running = [flow(GLOBAL, &global), flow("a", &a)];
        let shifts = what_if(&running, flow(GLOBAL, &more), &CpuSet::parse("0").unwrap());
        let shown: Vec<_> = shifts
            .iter()
            .map(|s| (s.zone.as_str(), thousandths(s.before.as_ref().unwrap()), thousandths(&s.after)))
            .collect();
        assert_eq!(shown, [(GLOBAL, 500, 750), ("a", 500, 250)]);
    }
}
