//! The deficit controller: what zones should weigh so that what they get over time is what they are entitled to.
//!
//! The kernel keeps shares only about: it rounds, it balances CPUs one by one, and it forgets what somebody missed. Here
//! nothing is forgotten. Each period every zone is credited with what it was entitled to of what all zones got, and charged
//! with what it took; what it is owed makes it weigh more until it has it:
//! ```text
//! owed  += entitlement − used
//! weight = shares × clamp(1 + ¼ × owed ÷ entitlement a period, ½, 2)
//! ```
//! Entitlements are filled up ([`fairness::fill`]): a zone that has fewer threads to run than its shares are worth leaves
//! the rest to the others and is not owed it. How many can run is known without asking for it: the time they ran and the
//! time they waited for a CPU, by eBPF.
//!
//! Pure: figures in, factors out.

use std::{collections::HashMap, time::Duration};

use fairness::{Claim, Cpus};
use uuid::Uuid;

/// How often zones that contend are looked at.
pub(super) const PERIOD: Duration = Duration::from_millis(200);

/// By how much a zone weighs more for each period's entitlement that it is owed.
const GAIN: f64 = 0.25;

/// Least and most that a zone weighs, as a part of its shares. What it is owed is bounded by the same.
const LEAST: f64 = 0.5;
const MOST: f64 = 2.0;

/// A zone that runs and waits for less than this, in CPUs, wants none.
const IDLE: f64 = 0.01;

/// Zones that wait for less than this together, in CPUs, have all they want.
const WAITING: f64 = 0.02;

/// A zone, and what eBPF has counted of it so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'a> {
    /// Which.
    pub(super) zone: Uuid,
    /// Its shares, its cap, its CPUs. One without shares is left alone: there is no weight below theirs.
    pub(super) claim: Claim<'a>,
    /// CPU time, nanoseconds.
    pub(super) usage_ns: u64,
    /// Time that its tasks waited for a CPU, nanoseconds.
    pub(super) wait_ns: u64,
}

/// What is remembered of the zones from one period to the next.
#[derive(Debug, Default)]
pub(super) struct Controller {
    at_ns: u64,
    accounts: HashMap<Uuid, Account>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    usage_ns: u64,
    wait_ns: u64,
    /// CPU seconds; below 0 if it had too much.
    owed: f64,
}

/// What zones should weigh.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Weights {
    /// Whether several zones want more than there is. If not, each weighs its shares.
    pub(super) contended: bool,
    /// Of each zone that has shares, the part of them it should weigh: ½ to 2.
    pub(super) factors: Vec<(Uuid, f64)>,
}

/// What a zone took and wanted in a period, in CPUs.
#[derive(Clone, Copy)]
struct Taken {
    used: f64,
    wanted: f64,
}

impl Controller {
    /// Takes the counters of all zones at one moment (of the monotonic clock), on a host with these CPUs.
    pub(super) fn step(&mut self, at_ns: u64, cpus: &Cpus, zones: &[Counted<'_>]) -> Weights {
        let seconds = at_ns.saturating_sub(self.at_ns) as f64 / 1e9;
        let zones: Vec<_> = zones.iter().filter(|zone| zone.claim.shares > 0).collect();
        let taken: Vec<_> = zones.iter().map(|zone| self.taken(zone, seconds)).collect();
        let busy = |taken: &&Taken| taken.wanted >= IDLE;
        let waiting: f64 = taken.iter().filter(busy).map(|taken| taken.wanted - taken.used).sum();
        let contended = taken.iter().filter(busy).count() > 1 && waiting >= WAITING;
        let claims: Vec<_> =
            zones.iter().zip(&taken).map(|(zone, taken)| zone.bounded(taken.wanted)).collect();
        let entitled = fairness::fill(&claims, cpus, taken.iter().map(|taken| taken.used).sum());
        let mut accounts = HashMap::new();
        let mut factors = Vec::new();
        for (((zone, taken), claim), entitled) in zones.iter().zip(&taken).zip(&claims).zip(entitled) {
            let owed = match self.accounts.get(&zone.zone) {
                Some(account) if contended && taken.wanted >= IDLE => {
                    let has_all = entitled >= claim.most * 0.999;
                    owed(account.owed + (entitled - taken.used) * seconds, entitled, has_all)
                }
                _ => 0.0,
            };
            factors.push((zone.zone, factor(owed, entitled)));
            accounts.insert(zone.zone, Account { usage_ns: zone.usage_ns, wait_ns: zone.wait_ns, owed });
        }
        (self.at_ns, self.accounts) = (at_ns, accounts);
        Weights { contended, factors }
    }

    /// Nothing for a zone that was not there before, or has begun anew.
    fn taken(&self, zone: &Counted<'_>, seconds: f64) -> Taken {
        let before = self.accounts.get(&zone.zone).filter(|before| before.usage_ns <= zone.usage_ns);
        let Some(before) = before.filter(|_| seconds > 0.0) else { return Taken { used: 0.0, wanted: 0.0 } };
        let cpus = |before: u64, now: u64| now.saturating_sub(before) as f64 / 1e9 / seconds;
        let used = cpus(before.usage_ns, zone.usage_ns);
        Taken { used, wanted: used + cpus(before.wait_ns, zone.wait_ns) }
    }
}

impl<'a> Counted<'a> {
    /// Its claim on no more CPUs than it wants.
    fn bounded(&self, wanted: f64) -> Claim<'a> {
        Claim { most: self.claim.most.min(wanted), ..self.claim }
    }
}

/// What is owed, with its bounds. What a zone misses that is entitled to all it wants is forgotten by half each period: it
/// waited a little for each turn, and would not have taken more.
fn owed(sum: f64, entitled: f64, has_all: bool) -> f64 {
    let period = entitled * PERIOD.as_secs_f64();
    let sum = if has_all && sum > 0.0 { sum / 2.0 } else { sum };
    sum.clamp((LEAST - 1.0) / GAIN * period, (MOST - 1.0) / GAIN * period)
}

fn factor(owed: f64, entitled: f64) -> f64 {
    let period = entitled * PERIOD.as_secs_f64();
    if period > 0.0 { (1.0 + GAIN * owed / period).clamp(LEAST, MOST) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scheduler on two CPUs that keeps weights with an error of its own for each zone, and forgets.
    struct Kernel {
        zones: Vec<Model>,
        seconds: f64,
    }

    struct Model {
        uuid: Uuid,
        shares: u64,
        /// Threads that always can run.
        threads: f64,
        bias: f64,
        weight: f64,
        used: f64,
        waited: f64,
    }

    fn cpus() -> Cpus {
        [0, 1].into()
    }

    impl Kernel {
        fn new(zones: &[(u64, f64, f64)]) -> Self {
            let model = |(shares, threads, bias): &(u64, f64, f64)| Model {
                uuid: Uuid::new_v4(),
                shares: *shares,
                threads: *threads,
                bias: *bias,
                weight: *shares as f64,
                used: 0.0,
                waited: 0.0,
            };
            Self { zones: zones.iter().map(model).collect(), seconds: 0.0 }
        }

        fn run(&mut self, seconds: f64) {
            let weights: Vec<_> = self.zones.iter().map(|z| (z.weight * z.bias * 1000.0) as u64).collect();
            let claim =
                |(zone, shares): (&Model, &u64)| Claim { shares: *shares, most: zone.threads, cpus: None };
            let claims: Vec<_> = self.zones.iter().zip(&weights).map(claim).collect();
            let got = fairness::fill(&claims, &cpus(), 2.0);
            for (zone, got) in self.zones.iter_mut().zip(got) {
                zone.used += got * seconds;
                zone.waited += (zone.threads - got) * seconds;
            }
            self.seconds += seconds;
        }

        fn counted(&self) -> Vec<Counted<'static>> {
            let ns = |seconds: f64| (seconds * 1e9) as u64;
            let all = self.zones.iter().map(|zone| Counted {
                zone: zone.uuid,
                claim: Claim { shares: zone.shares, most: f64::INFINITY, cpus: None },
                usage_ns: ns(zone.used),
                wait_ns: ns(zone.waited),
            });
            all.collect()
        }

        /// Lets it run under the controller; what the zones used meanwhile, in CPUs.
        fn steered(&mut self, controller: &mut Controller, periods: u32) -> Vec<f64> {
            let before: Vec<_> = self.zones.iter().map(|zone| zone.used).collect();
            let begun = self.seconds;
            for _ in 0..periods {
                self.run(PERIOD.as_secs_f64());
                let weights = controller.step((self.seconds * 1e9) as u64, &cpus(), &self.counted());
                for (zone, (_, factor)) in self.zones.iter_mut().zip(weights.factors) {
                    zone.weight = zone.shares as f64 * factor;
                }
            }
            let rate = |(zone, before): (&Model, f64)| (zone.used - before) / (self.seconds - begun);
            self.zones.iter().zip(before).map(rate).collect()
        }
    }

    #[track_caller]
    fn near(got: &[f64], ideal: &[f64], within: f64) {
        let off = got.iter().zip(ideal).map(|(got, ideal)| (got / ideal - 1.0).abs()).fold(0.0, f64::max);
        assert!(off <= within, "{got:?} is off {ideal:?} by {off}");
    }

    #[test]
    fn what_a_scheduler_gets_wrong_each_time_is_made_up_for() {
        let mut kernel = Kernel::new(&[(100, 4.0, 1.2), (200, 4.0, 0.9), (400, 4.0, 1.0)]);
        let ideal = [2.0 / 7.0, 4.0 / 7.0, 8.0 / 7.0];
        let mut controller = Controller::default();
        near(&kernel.steered(&mut controller, 50), &ideal, 0.02);
        near(&kernel.steered(&mut controller, 50), &ideal, 0.0005);
    }

    #[test]
    fn threads_that_are_not_there_are_owed_nothing() {
        let mut kernel = Kernel::new(&[(1, 1.0, 1.0), (2, 1.0, 1.0), (4, 1.0, 1.0)]);
        let mut controller = Controller::default();
        let got = kernel.steered(&mut controller, 50);
        near(&got, &[1.0 / 3.0, 2.0 / 3.0, 1.0], 0.001);
        // It begins more: it has banked nothing meanwhile.
        kernel.zones[2].threads = 4.0;
        let got = kernel.steered(&mut controller, 5);
        near(&got, &[2.0 / 7.0, 4.0 / 7.0, 8.0 / 7.0], 0.03);
    }

    #[test]
    fn a_zone_that_has_slept_begins_even() {
        let mut kernel = Kernel::new(&[(100, 4.0, 1.3), (100, 4.0, 1.0)]);
        let mut controller = Controller::default();
        kernel.steered(&mut controller, 20);
        assert!(controller.accounts.values().any(|account| account.owed > 0.001), "{controller:?}");
        kernel.zones[1].threads = 0.0;
        kernel.steered(&mut controller, 2);
        assert!(controller.accounts.values().all(|account| account.owed == 0.0), "{controller:?}");
        assert_eq!(kernel.zones[0].weight, 100.0, "alone it weighs its shares");
    }

    #[test]
    fn nobody_contends_alone_or_with_room() {
        let mut controller = Controller::default();
        for zones in [&[(100, 4.0, 1.0), (100, 0.0, 1.0)][..], &[(100, 1.0, 1.0), (100, 0.5, 1.0)]] {
            let mut kernel = Kernel::new(zones);
            controller.step(0, &cpus(), &kernel.counted());
            for _ in 0..5 {
                kernel.run(0.2);
                let weights = controller.step((kernel.seconds * 1e9) as u64, &cpus(), &kernel.counted());
                assert!(!weights.contended && weights.factors.iter().all(|(_, factor)| *factor == 1.0));
            }
        }
    }

    #[test]
    fn factors_are_bounded_and_so_is_what_is_remembered() {
        let mut kernel = Kernel::new(&[(100, 4.0, 10.0), (100, 4.0, 1.0)]);
        let mut controller = Controller::default();
        kernel.steered(&mut controller, 100);
        let weights: Vec<_> = kernel.zones.iter().map(|zone| zone.weight).collect();
        assert_eq!(weights, [50.0, 200.0]);
        kernel.zones[0].bias = 1.0;
        // It had 0.8 s too much for 20 s, and pays back no more than a few periods.
        kernel.steered(&mut controller, 20);
        near(&kernel.steered(&mut controller, 10), &[1.0, 1.0], 0.02);
    }

    #[test]
    fn no_shares_and_new_boots_are_left_alone() {
        let mut controller = Controller::default();
        let zone = |shares, usage_ns| Counted {
            zone: Uuid::nil(),
            claim: Claim { shares, most: f64::INFINITY, cpus: None },
            usage_ns,
            wait_ns: 1 << 40,
        };
        assert_eq!(controller.step(1 << 30, &cpus(), &[zone(0, 0)]).factors, []);
        controller.step(1 << 31, &cpus(), &[zone(5, 1 << 30)]);
        // Its counters have gone back: another boot.
        let weights = controller.step(1 << 32, &cpus(), &[zone(5, 7)]);
        assert_eq!(weights.factors, [(Uuid::nil(), 1.0)]);
    }
}
