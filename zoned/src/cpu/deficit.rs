//! The deficit controller: what zones should weigh so that what they get over time is what they are entitled to.
//!
//! The kernel keeps shares only about: it rounds, it balances CPUs one by one, and it forgets what somebody missed. Here
//! nothing is forgotten. Each period every zone is credited with what it was entitled to of what all zones got, and charged
//! with what it took; what it is owed makes it weigh more until it has it:
//! ```text
//! owed  += entitlement − used
//! weight = shares × clamp(1 + owed ÷ entitlement a period, ½, 2)
//! ```
//! Those who compete are owed nothing together: what one is owed the others had too much.
//!
//! Entitlements are filled up ([`fairness::fill`]): a zone that has fewer threads to run than its shares are worth leaves
//! the rest to the others and is not owed it. How many can run is known without asking for it: the time they ran and the
//! time they waited for a CPU, by eBPF. A wait is counted when it ends, so that a zone of which nothing is heard may be one that
//! waits for its turn: for some periods it counts as wanting what it wanted before, and what it is owed for them stands if it
//! turns out that it has waited.
//!
//! Pure: figures in, factors out.

use std::{collections::HashMap, time::Duration};

use fairness::{Claim, Cpus};
use uuid::Uuid;

/// How often zones that contend are looked at.
pub(super) const PERIOD: Duration = Duration::from_millis(100);

/// Least and most that a zone weighs, as a part of its shares.
const LEAST: f64 = 0.5;
const MOST: f64 = 2.0;

/// Most that a zone had too much, and is owed, in periods of its entitlement.
const TOO_MUCH: f64 = 2.0;
const OWED: f64 = 4.0;

/// A zone that runs and waits for less than this, in CPUs, wants none.
const IDLE: f64 = 0.01;

/// For so many periods nothing is concluded from a zone's silence.
const PATIENCE: u32 = 10;

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
    /// What was asked when the accounts were kept: shares, cap and CPUs of each zone.
    asked: Vec<Asked>,
}

type Asked = (Uuid, u64, f64, Option<Cpus>);

#[derive(Clone, Copy, Debug)]
struct Account {
    usage_ns: u64,
    wait_ns: u64,
    /// CPU seconds; below 0 if it had too much.
    owed: f64,
    /// CPUs it wanted when that was last known, and for how many periods it has not been.
    wanted: f64,
    silent: u32,
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
    /// For how many periods what it wants is not known.
    silent: u32,
    /// It was silent because it wanted nothing.
    slept: bool,
}

impl Taken {
    const NOTHING: Self = Self { used: 0.0, wanted: 0.0, silent: 0, slept: false };

    fn is_busy(&self) -> bool {
        self.wanted >= IDLE
    }
}

impl Controller {
    /// Takes the counters of all zones at one moment (of the monotonic clock), on a host with these CPUs.
    pub(super) fn step(&mut self, at_ns: u64, cpus: &Cpus, zones: &[Counted<'_>]) -> Weights {
        let seconds = at_ns.saturating_sub(self.at_ns) as f64 / 1e9;
        let zones: Vec<_> = zones.iter().filter(|zone| zone.claim.shares > 0).collect();
        let taken: Vec<_> = zones.iter().map(|zone| self.taken(zone, seconds)).collect();
        let busy = || taken.iter().filter(|taken| taken.is_busy());
        let waiting: f64 = busy().map(|taken| taken.wanted - taken.used).sum();
        let contended = busy().count() > 1 && waiting >= WAITING;
        let claims: Vec<_> =
            zones.iter().zip(&taken).map(|(zone, taken)| zone.bounded(taken.wanted)).collect();
        let entitled = fairness::fill(&claims, cpus, taken.iter().map(|taken| taken.used).sum());
        // What was owed by other shares, or beside other zones, is no debt of now.
        let asked: Vec<_> = zones.iter().map(|zone| zone.asked()).collect();
        let same = asked == self.asked;
        let mut debts: Vec<_> = zones
            .iter()
            .zip(&taken)
            .zip(&claims)
            .zip(entitled)
            .map(|(((zone, taken), claim), entitled)| {
                let has_all = entitled >= claim.most * 0.999;
                let before = match self.accounts.get(&zone.zone) {
                    Some(account) if same && contended && taken.is_busy() => Some(account.owed),
                    _ => None,
                };
                let before = before.map(|owed| if taken.slept { 0.0 } else { owed });
                let owed = before.map(|owed| owed + (entitled - taken.used) * seconds);
                Debt { owed: owed.unwrap_or(0.0), entitled, competes: owed.is_some() && !has_all }
            })
            .collect();
        balance(&mut debts);
        let of = |(zone, debt): (&&Counted<'_>, &Debt)| (zone.zone, debt.factor());
        let factors = zones.iter().zip(&debts).map(of).collect();
        let kept = |((zone, taken), debt): ((&&Counted<'_>, &Taken), &Debt)| {
            let Taken { wanted, silent, .. } = *taken;
            let Counted { usage_ns, wait_ns, .. } = **zone;
            (zone.zone, Account { usage_ns, wait_ns, owed: debt.owed, wanted, silent })
        };
        let accounts = zones.iter().zip(&taken).zip(&debts).map(kept).collect();
        (self.at_ns, self.accounts, self.asked) = (at_ns, accounts, asked);
        Weights { contended, factors }
    }

    /// Nothing for a zone that was not there before, or has begun anew.
    fn taken(&self, zone: &Counted<'_>, seconds: f64) -> Taken {
        let before = self.accounts.get(&zone.zone).filter(|before| before.usage_ns <= zone.usage_ns);
        let Some(before) = before.filter(|_| seconds > 0.0) else { return Taken::NOTHING };
        let cpus = |before: u64, now: u64| now.saturating_sub(before) as f64 / 1e9 / seconds;
        let used = cpus(before.usage_ns, zone.usage_ns);
        let waited = cpus(before.wait_ns, zone.wait_ns);
        if used + waited >= IDLE {
            // More than its threads can have waited in one period is a wait of the silence too.
            let periods = f64::from(before.silent + 1);
            let slept = before.silent > 0 && waited <= before.wanted;
            let wanted = if slept { used + waited } else { used + waited / periods };
            return Taken { used, wanted, silent: 0, slept };
        }
        let silent = (before.silent + 1).min(PATIENCE);
        let wanted = if before.silent < PATIENCE { before.wanted } else { 0.0 };
        Taken { used, wanted, silent, slept: false }
    }
}

impl<'a> Counted<'a> {
    fn asked(&self) -> Asked {
        (self.zone, self.claim.shares, self.claim.most, self.claim.cpus.cloned())
    }

    /// Its claim on no more CPUs than it wants.
    fn bounded(&self, wanted: f64) -> Claim<'a> {
        Claim { most: self.claim.most.min(wanted), ..self.claim }
    }
}

/// What a zone is owed after a period.
struct Debt {
    /// CPU seconds.
    owed: f64,
    /// CPUs.
    entitled: f64,
    /// It wants more than it is entitled to.
    competes: bool,
}

impl Debt {
    /// What it is entitled to in a period.
    fn period(&self) -> f64 {
        self.entitled * PERIOD.as_secs_f64()
    }

    fn factor(&self) -> f64 {
        let period = self.period();
        if period > 0.0 { (1.0 + self.owed / period).clamp(LEAST, MOST) } else { 1.0 }
    }
}

/// Puts bounds to what is owed. What somebody misses who is entitled to all it wants is forgotten by half each period: it waited
/// a little for each turn, and would not have taken more. What is forgotten was somebody else's to pay: those who compete are
/// owed nothing together, or all of them would come to weigh little, and have less room to weigh differently.
fn balance(debts: &mut [Debt]) {
    for debt in debts.iter_mut().filter(|debt| !debt.competes && debt.owed > 0.0) {
        debt.owed /= 2.0;
    }
    let competing = debts.iter().filter(|debt| debt.competes);
    let (owed, entitled) = competing.fold((0.0, 0.0), |sum, debt| (sum.0 + debt.owed, sum.1 + debt.entitled));
    let common = if entitled > 0.0 { owed / entitled } else { 0.0 };
    for debt in debts {
        if debt.competes {
            debt.owed -= common * debt.entitled;
        }
        let period = debt.period();
        debt.owed = debt.owed.clamp(-TOO_MUCH * period, OWED * period);
    }
}

#[cfg(test)]
mod tests;
