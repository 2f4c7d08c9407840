//! What zones are entitled to, now and after a change. Pure.

use zoned_api::{
    ZoneConfig,
    config::{Cpu, CpuSet},
    report::Shift,
    stat::Entitlement,
};

use super::{dedicated::apart, steer::claim};

/// What each of these zones is entitled to when all of them want all they may have, on a host with these CPUs.
pub fn entitlements(zones: &[&ZoneConfig], cpus: &CpuSet) -> Vec<Entitlement> {
    let zones = apart(&zones.iter().map(|zone| &zone.cpu).collect::<Vec<_>>(), cpus);
    let claims: Vec<_> = zones.iter().map(claim).collect();
    let filled = fairness::fill(&claims, cpus.numbers(), cpus.count() as f64);
    let total: u64 = claims.iter().map(|claim| claim.shares).sum();
    zones.iter().zip(filled).map(|(zone, entitled)| entitlement(zone, total, cpus, entitled)).collect()
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

/// What each zone that runs is entitled to, before one has another configuration and after. That one is told too if it
/// does not run: as if it was booted with that.
pub fn what_if(running: &[&ZoneConfig], now: &ZoneConfig, next: &ZoneConfig, cpus: &CpuSet) -> Vec<Shift> {
    let before = entitlements(running, cpus);
    let is_it = |zone: &&ZoneConfig| zone.zone == now.zone;
    let mut after: Vec<_> = running.iter().map(|zone| if is_it(zone) { next } else { *zone }).collect();
    let mut named: Vec<_> = running.iter().map(|zone| zone.zone.clone()).collect();
    if !running.iter().any(is_it) {
        after.push(next);
        named.push(now.zone.clone());
    }
    let before = before.into_iter().map(Some).chain([None]);
    let shifts = named.into_iter().zip(before).zip(entitlements(&after, cpus));
    let mut shifts: Vec<_> = shifts.map(|((zone, before), after)| Shift { zone, before, after }).collect();
    shifts.sort_by(|a, b| a.zone.cmp(&b.zone));
    shifts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(zone: &str, keys: &str) -> ZoneConfig {
        ZoneConfig::parse(&format!("zone: {zone}\ncpu: {{ {keys} }}")).unwrap()
    }

    fn two() -> CpuSet {
        CpuSet::parse("0-1").unwrap()
    }

    #[test]
    fn entitlement_is_a_share_of_those_who_run_and_the_lesser_of_cap_and_cpus() {
        let (one, other) = (config("a", "shares: 300, cap: 1.5, cpus: 0"), config("b", ""));
        let all = entitlements(&[&one, &other], &two());
        assert_eq!((all[0].share_percent, all[0].cap, all[0].cap_percent), (75.0, Some(1.0), Some(50.0)));
        assert_eq!((all[0].cpus, all[1].cpus), (Some(1.0), Some(1.0)), "more than its CPU it cannot have");
        let idle = config("a", "shares: 0");
        let idle = &entitlements(&[&idle], &two())[0];
        assert_eq!((idle.share_percent, idle.cap, idle.cap_percent, idle.cpus), (0.0, None, None, Some(2.0)));
        let capped = config("a", "cap: 8");
        assert_eq!(entitlements(&[&capped], &two())[0].cap_percent, Some(100.0));
    }

    #[test]
    fn what_is_dedicated_is_lost_to_the_others() {
        let (a, b, c) =
            (config("a", "shares: 1, cpus: 1"), config("b", ""), config("c", "shares: 300, cpus: 0-1"));
        let shifts = what_if(&[&a, &b, &c], &a, &config("a", "shares: 1, cpus: 1, dedicated: true"), &two());
        assert!(shifts[0].before.as_ref().unwrap().cpus < Some(0.1));
        let after: Vec<_> = shifts.iter().map(|shift| (shift.after.cpus, shift.after.cap)).collect();
        assert_eq!(after, [(Some(1.0), Some(1.0)), (Some(0.25), Some(1.0)), (Some(0.75), Some(1.0))]);
    }

    #[test]
    fn a_change_moves_everybody() {
        let (a, b, c) = (config("a", "shares: 100"), config("b", "shares: 100"), config("c", "shares: 200"));
        let shifts = what_if(&[&a, &c], &a, &config("a", "shares: 600"), &two());
        let thousandths = |e: &Entitlement| (e.cpus.unwrap() * 1000.0).round() as u64;
        let moved = shifts.iter().map(|s| (thousandths(s.before.as_ref().unwrap()), thousandths(&s.after)));
        assert_eq!(moved.collect::<Vec<_>>(), [(667, 1500), (1333, 500)]);
        let shifts = what_if(&[&a, &c], &b, &config("b", "shares: 100"), &two());
        assert_eq!(shifts.iter().map(|s| s.zone.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((shifts[1].before.as_ref(), thousandths(&shifts[1].after)), (None, 500));
    }
}
