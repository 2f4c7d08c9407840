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
    kernel.steered(&mut controller, PATIENCE + 1);
    assert!(controller.accounts.values().all(|account| account.owed == 0.0), "{controller:?}");
    assert_eq!(kernel.zones[0].weight, 100.0, "alone it weighs its shares");
}

#[test]
fn a_long_wait_is_no_sleep() {
    let (seldom, often) = (Uuid::new_v4(), Uuid::new_v4());
    let claim = Claim { shares: 100, most: f64::INFINITY, cpus: None };
    let ns = |seconds: f64| (seconds * 1e9) as u64;
    // One gets its turn every fourth period; that it has waited is known only then.
    let mut controller = Controller::default();
    let (mut used, mut waited) = (0.0, 0.0);
    for period in 0..=20 {
        if period % 4 == 0 {
            (used, waited) = (used + 0.1, waited + 0.7);
        }
        let at = f64::from(period) * 0.2;
        let counted = [(seldom, used, waited), (often, at * 1.9, at)].map(|(zone, used, waited)| Counted {
            zone,
            claim,
            usage_ns: ns(used),
            wait_ns: ns(waited),
        });
        let weights = controller.step(ns(at) + 1, &cpus(), &counted);
        assert!(period < 5 || weights.contended, "{period}: {controller:?}");
        assert!(period < 8 || weights.factors[0].1 > 1.5, "{period}: {weights:?} {controller:?}");
    }
    assert!(controller.accounts[&often].owed < 0.0);
}

#[test]
fn a_short_sleep_is_not_paid_for() {
    let mut kernel = Kernel::new(&[(100, 4.0, 1.0), (100, 4.0, 1.0)]);
    let mut controller = Controller::default();
    kernel.steered(&mut controller, 10);
    kernel.zones[1].threads = 0.0;
    kernel.steered(&mut controller, 4);
    let owed = |controller: &Controller, zone: &Model| controller.accounts[&zone.uuid].owed;
    assert!(owed(&controller, &kernel.zones[1]) > 0.3, "it may be waiting: {controller:?}");
    kernel.zones[1].threads = 4.0;
    kernel.steered(&mut controller, 1);
    assert!(owed(&controller, &kernel.zones[1]) < 0.05, "it was not: {controller:?}");
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
fn what_was_owed_by_other_shares_is_no_debt() {
    let mut kernel = Kernel::new(&[(100, 4.0, 10.0), (100, 4.0, 1.0)]);
    let mut controller = Controller::default();
    kernel.steered(&mut controller, 20);
    assert_eq!(kernel.zones[0].weight, 50.0, "it had too much");
    (kernel.zones[0].shares, kernel.zones[0].bias) = (300, 1.0);
    (kernel.zones[0].weight, kernel.zones[1].weight) = (300.0, 100.0);
    near(&kernel.steered(&mut controller, 5), &[1.5, 0.5], 0.01);
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
