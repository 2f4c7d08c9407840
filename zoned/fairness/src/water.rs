//! Weighted max-min fairness, by filling up: all claims rise together, each as fast as its shares, until one has all it can
//! use or the CPUs it may use are full; the others rise on.
//!
//! What is feasible on CPUs that not everybody may use is a polymatroid: any claims together get at most the CPUs that any of
//! them may use. The level at which the first such bound is met is found from above (Newton's way): from a level that does
//! not fit, to the one at which those that are too much just fit, until all do.

use std::collections::BTreeMap;

use crate::{
    Claim, Cpus,
    flow::{NOTHING, Network},
    level::{Rising, level},
};

/// What each claim is entitled to, in CPUs, of these CPUs, of which `total` are there to be had (the others are taken by
/// somebody else). The sum is `total` where enough is asked for, and never more.
pub fn fill(claims: &[Claim<'_>], cpus: &Cpus, total: f64) -> Vec<f64> {
    let mut vessel = Vessel::new(claims, cpus, total);
    vessel.rise(|claim| (claim.shares > 0).then_some(claim.shares as f64));
    vessel.rise(|claim| (claim.shares == 0).then_some(1.0));
    vessel.got
}

/// What is filled up.
struct Vessel<'a> {
    claims: &'a [Claim<'a>],
    /// Claims that may use the same CPUs are one demand.
    demand_of: Vec<usize>,
    network: Network,
    total: f64,
    got: Vec<f64>,
}

impl<'a> Vessel<'a> {
    fn new(claims: &'a [Claim<'a>], cpus: &Cpus, total: f64) -> Self {
        let mut sets: BTreeMap<Cpus, usize> = BTreeMap::new();
        let demand_of = claims.iter().map(|claim| {
            let own = claim.cpus.map_or_else(|| cpus.clone(), |own| own & cpus);
            let next = sets.len();
            *sets.entry(own).or_insert(next)
        });
        let demand_of = demand_of.collect();
        // CPUs that the same demands may use are of one kind.
        let mut kinds: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
        for cpu in cpus {
            let mut users: Vec<_> =
                sets.iter().filter(|(set, _)| set.contains(cpu)).map(|(_, at)| *at).collect();
            users.sort_unstable();
            *kinds.entry(users).or_default() += 1.0;
        }
        let mut reach = vec![Vec::new(); sets.len()];
        for (kind, users) in kinds.keys().enumerate() {
            users.iter().for_each(|demand| reach[*demand].push(kind));
        }
        let network = Network { reach, room: kinds.into_values().collect() };
        Self { claims, demand_of, network, total, got: vec![0.0; claims.len()] }
    }

    /// Fills up those that have a weight; what the others have got stays.
    fn rise(&mut self, weight: impl Fn(&Claim<'_>) -> Option<f64>) {
        let rising = |claim: &Claim<'_>| Some(Rising { weight: weight(claim)?, most: claim.most.max(0.0) });
        let mut rising: Vec<Option<Rising>> = self.claims.iter().map(rising).collect();
        while rising.iter().any(Option::is_some) {
            let (level, full) = self.first_bound(&rising);
            for (at, claim) in rising.iter_mut().enumerate() {
                if let Some(own) = *claim
                    && full[self.demand_of[at]]
                {
                    self.got[at] = own.at(level);
                    *claim = None;
                }
            }
        }
    }

    /// The highest level that fits, and the demands that rise no more there.
    fn first_bound(&self, rising: &[Option<Rising>]) -> (f64, Vec<bool>) {
        let all = vec![true; self.network.reach.len()];
        let (mut at, mut full) = (self.level(rising, &all, self.total), all);
        while let Some(over) = self.network.overfull(&self.demands(rising, at)) {
            let lower = self.level(rising, &over, self.cpus(&over));
            if lower >= at {
                // No more than rounding is in the way.
                break;
            }
            (at, full) = (lower, over);
        }
        (at, full)
    }

    /// What each demand takes at a level.
    fn demands(&self, rising: &[Option<Rising>], level: f64) -> Vec<f64> {
        // More than there is does not fit, however much more it is.
        let most = self.network.room.iter().sum::<f64>() + 1.0;
        let mut demands = vec![0.0; self.network.reach.len()];
        for (at, claim) in rising.iter().enumerate() {
            demands[self.demand_of[at]] += claim.map_or(self.got[at], |claim| claim.at(level).min(most));
        }
        demands
    }

    /// The level at which these demands take so many CPUs together.
    fn level(&self, rising: &[Option<Rising>], of: &[bool], cpus: f64) -> f64 {
        let own = |at: &usize| of[self.demand_of[*at]];
        let fixed: f64 =
            (0..rising.len()).filter(own).filter(|at| rising[*at].is_none()).map(|at| self.got[at]).sum();
        level((0..rising.len()).filter(own).filter_map(|at| rising[at]), cpus - fixed)
    }

    /// CPUs that any of these demands may use.
    fn cpus(&self, of: &[bool]) -> f64 {
        let used =
            |kind: &usize| self.network.reach.iter().zip(of).any(|(reach, of)| *of && reach.contains(kind));
        (0..self.network.room.len())
            .filter(used)
            .map(|kind| self.network.room[kind])
            .sum::<f64>()
            .max(NOTHING)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpus(list: &[u32]) -> Cpus {
        list.iter().copied().collect()
    }

    fn plain(shares: u64, most: f64) -> Claim<'static> {
        Claim { shares, most, cpus: None }
    }

    #[track_caller]
    fn gets(claims: &[Claim<'_>], on: &[u32], total: f64, expected: &[f64]) {
        let got = fill(claims, &cpus(on), total);
        let near = got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near, "{got:?}, not {expected:?}");
    }

    const ALL: f64 = f64::INFINITY;

    #[test]
    fn shares_divide_what_is_there() {
        let three = [plain(100, ALL), plain(200, ALL), plain(400, ALL)];
        gets(&three, &[0, 1], 2.0, &[2.0 / 7.0, 4.0 / 7.0, 8.0 / 7.0]);
        gets(&three, &[0, 1], 1.4, &[0.2, 0.4, 0.8]);
        gets(&[], &[0], 1.0, &[]);
    }

    #[test]
    fn what_one_cannot_use_is_the_others() {
        // One thread each on two CPUs, 1:2:4: the last cannot use the 8/7 of a CPU that its shares say.
        gets(&[plain(1, 1.0), plain(2, 1.0), plain(4, 1.0)], &[0, 1], 2.0, &[1.0 / 3.0, 2.0 / 3.0, 1.0]);
        gets(&[plain(1, 0.1), plain(1, 0.2)], &[0, 1], 2.0, &[0.1, 0.2]);
    }

    #[test]
    fn no_shares_get_what_nobody_else_wants() {
        gets(&[plain(0, ALL), plain(1, ALL)], &[0], 1.0, &[0.0, 1.0]);
        gets(&[plain(0, ALL), plain(1, 0.25), plain(0, 0.5)], &[0], 1.0, &[0.375, 0.25, 0.375]);
        gets(&[plain(0, ALL)], &[0, 1], 2.0, &[2.0]);
    }

    #[test]
    fn cpus_of_ones_own_bound_what_is_shared_on_them() {
        let (one, both) = (cpus(&[1]), cpus(&[0, 1]));
        let on = |shares, cpus| Claim { shares, most: ALL, cpus: Some(cpus) };
        gets(&[on(1, &one), on(3, &one)], &[0, 1], 1.0, &[0.25, 0.75]);
        // Those on one CPU get less than their part of both; the third rises on.
        gets(&[on(1, &one), on(1, &one), on(1, &both)], &[0, 1], 2.0, &[0.5, 0.5, 1.0]);
        // As long as its other CPU is enough, one that may use both takes nothing from those that may not.
        gets(&[on(1, &one), on(1, &both)], &[0, 1], 2.0, &[1.0, 1.0]);
        gets(&[on(1, &one), on(3, &both)], &[0, 1], 2.0, &[0.5, 1.5]);
        gets(&[on(0, &one), on(1, &both)], &[0, 1], 2.0, &[0.0, 2.0]);
        // A CPU that is gone counts for nobody.
        gets(&[on(1, &one), on(1, &both)], &[0], 1.0, &[0.0, 1.0]);
    }

    fn claims() -> impl Strategy<Value = (Vec<(u64, f64, Option<Cpus>)>, f64)> {
        let most = prop_oneof![Just(f64::INFINITY), 0.0..3.0];
        let set = prop::option::of(prop::collection::btree_set(0u32..4, 1..4));
        (prop::collection::vec((0u64..5, most, set), 0..8), 0.1f64..4.0)
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_is_there_and_nothing_is_left_that_is_wanted((asked, total) in claims()) {
            let claims: Vec<_> =
                asked.iter().map(|(shares, most, cpus)| Claim { shares: *shares, most: *most, cpus: cpus.as_ref() }).collect();
            let all = cpus(&[0, 1, 2, 3]);
            let got = fill(&claims, &all, total);
            let sum: f64 = got.iter().sum();
            prop_assert!(sum <= total + 1e-6, "{got:?}");
            for (claim, got) in claims.iter().zip(&got) {
                prop_assert!(*got <= claim.most + 1e-6 && *got >= 0.0 && got.is_finite());
            }
            // Any claims together get at most the CPUs that any of them may use: tried for all sets of CPUs.
            for bits in 0u32..16 {
                let set: Cpus = (0..4).filter(|cpu| bits & 1 << cpu != 0).collect();
                let within = claims.iter().zip(&got).filter(|(claim, _)| claim.cpus.unwrap_or(&all).is_subset(&set));
                let taken: f64 = within.map(|(_, got)| got).sum();
                prop_assert!(taken <= set.len() as f64 + 1e-6, "{got:?} on {set:?}");
            }
            // Whoever has less than it can use is held back where nobody has more for its shares.
            for (claim, own) in claims.iter().zip(&got).filter(|(claim, own)| **own < claim.most.min(4.0) - 1e-6) {
                let higher = |other: &Claim<'_>, taken: f64| match (claim.shares, other.shares) {
                    (0, 0) => taken > own + 1e-6,
                    (0, _) => false,
                    (_, 0) => taken > 1e-6,
                    (mine, its) => taken / its as f64 > own / mine as f64 + 1e-6,
                };
                let held = |set: &Cpus, room: f64| {
                    let within = || claims.iter().zip(&got).filter(|(c, _)| c.cpus.unwrap_or(&all).is_subset(set));
                    let full = within().map(|(_, got)| got).sum::<f64>() >= room - 1e-6;
                    full && claim.cpus.unwrap_or(&all).is_subset(set) && !within().any(|(c, got)| higher(c, *got))
                };
                let sets = (0u32..16).map(|bits| (0..4).filter(|cpu| bits & 1 << cpu != 0).collect::<Cpus>());
                prop_assert!(held(&all, total) || sets.into_iter().any(|set| held(&set, set.len() as f64)), "{got:?}");
            }
        }
    }
}
