//! Limits of zones that run: set before anything runs, changed live, watched, and told.
//!
//! What is in force is in the kernel, in the zone's groups; it outlives this daemon. Kept here is only which boots there
//! are to change and to watch. Reaching a limit is an event: at once, and then once a minute while it goes on, so that
//! no zone pushes the others' events out of the journal.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;
use zoned_api::{
    ApiError, EventKind, ZoneConfig, ZoneName, config::Limits, error::Fault, report::LimitUse,
    stat::Entitlement,
};

use super::status::Status;
use crate::{
    fault::whole,
    host::Host,
    plan::Identity,
    platform::cgroup::{Counters, Hits, LimitError, Tree},
};

/// How often the kernel's counters are looked at: version 1 tells of refused forks to nobody.
const EVERY: Duration = Duration::from_secs(1);

/// How long one zone is not told of again.
const QUIET: Duration = Duration::from_secs(60);

/// The boots that have limits.
#[derive(Debug, Default)]
pub struct Keeper(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    boots: HashMap<Uuid, Boot>,
    /// Limits that were changed while a boot was on its way.
    changed: HashMap<Uuid, Limits>,
}

#[derive(Debug)]
struct Boot {
    tag: String,
    name: ZoneName,
    counters: Counters,
    /// What has been told, and when last.
    told: Hits,
    at: Option<Instant>,
}

impl Keeper {
    /// Sets the limits of a boot whose groups were just made.
    pub fn begin(&self, tree: &Tree, identity: &Identity, config: &ZoneConfig) -> Result<(), LimitError> {
        let mut kept = self.lock();
        let limits = kept.changed.remove(&identity.uuid).unwrap_or_else(|| config.limits());
        tree.limit_new(&identity.tag(), &limits)?;
        kept.watch(tree, identity);
        Ok(())
    }

    /// Takes over a boot of an earlier daemon's; what that one did not come to write is written.
    pub fn adopt(&self, tree: &Tree, identity: &Identity, config: &ZoneConfig) {
        let mut kept = self.lock();
        if let Err(e) = tree.limit(&identity.tag(), &config.limits()) {
            tracing::error!(zone = %identity.name, "not all of its limits are in force: {}", whole(&e));
        }
        kept.watch(tree, identity);
    }

    /// Changes the limits of a zone where it runs. True if it does.
    fn change(&self, tree: &Tree, status: &Status, limits: Limits) -> Result<bool, LimitError> {
        let mut kept = self.lock();
        kept.changed.remove(&status.uuid());
        if let Some(boot) = kept.boots.get(&status.uuid()) {
            return tree.limit(&boot.tag, &limits).map(|()| true);
        }
        if status.doing.is_some() {
            kept.changed.insert(status.uuid(), limits);
        }
        Ok(false)
    }

    /// Ends to watch a zone, of which nothing runs any more. Its groups are still there.
    pub fn end(&self, host: &Host, zone: &Uuid) {
        let mut kept = self.lock();
        kept.changed.remove(zone);
        if let Some(mut boot) = kept.boots.remove(zone) {
            boot.at = None;
            boot.look(host);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn watch(&mut self, tree: &Tree, identity: &Identity) {
        let (tag, name) = (identity.tag(), identity.name.clone());
        let counters = tree.counters(&tag);
        let told = counters.read();
        self.boots.insert(identity.uuid, Boot { tag, name, counters, told, at: None });
    }
}

impl Boot {
    /// Tells what has been hit since it was told last.
    fn look(&mut self, host: &Host) {
        if self.at.is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        let now = self.counters.read();
        let (kills, refused) =
            (now.oom_kills.saturating_sub(self.told.oom_kills), now.tasks.saturating_sub(self.told.tasks));
        if kills > 0 {
            host.journal.note(Some(&self.name), EventKind::Oom { kills });
        }
        if refused > 0 {
            let key = "tasks.max".into();
            host.journal.note(Some(&self.name), EventKind::Limit { key, times: refused });
        }
        if kills > 0 || refused > 0 {
            (self.told, self.at) = (now, Some(Instant::now()));
        }
    }
}

/// Looks after all zones for as long as the daemon lives.
pub async fn watch(host: Arc<Host>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        host.limits.lock().boots.values_mut().for_each(|boot| boot.look(&host));
    }
}

/// Whether this host can enforce the limits of a configuration.
pub(super) fn check(host: &Host, config: &ZoneConfig) -> Result<(), ApiError> {
    host.tree.can_limit(&config.limits()).map_err(|e| refused("configuration", &e))
}

/// Gives a zone the limits of its next configuration, where it runs. True if it does. On an error some may be changed.
pub(super) fn change(host: &Host, status: &Status, next: &ZoneConfig) -> Result<bool, ApiError> {
    // Most changes are of something else.
    if next.limits() == status.config.limits() {
        return Ok(false);
    }
    let changed = host.limits.change(&host.tree, status, next.limits());
    changed.map_err(|e| refused(&format!("zone {}", status.config.zone), &e))
}

/// Gives a zone the limits back that it had.
pub(super) fn put_back(host: &Host, status: &Status) {
    if let Err(e) = host.limits.change(&host.tree, status, status.config.limits()) {
        tracing::error!(zone = %status.config.zone, "its limits could not all be put back: {}", whole(&e));
    }
}

/// In the words of the API; `of` is what the key is of.
fn refused(of: &str, error: &LimitError) -> ApiError {
    let message = format!("{of}: {}", whole(error));
    match error {
        LimitError::Unsupported { hint, .. } => {
            ApiError::Unsupported(Fault { message, hint: Some(hint.clone()) })
        }
        LimitError::Below { .. } => {
            let hint = "nothing was changed; end something inside first, or give more";
            ApiError::invalid(message, Some(hint.into()))
        }
        LimitError::Write { .. } => ApiError::failed(message, Some("nothing was changed".into())),
    }
}

/// The limits that are in force for a zone that runs, with what it takes of them.
pub fn uses(host: &Host, status: &Status) -> Vec<LimitUse> {
    if status.run.is_none() {
        return Vec::new();
    }
    let tag = status.identity().tag();
    let (Limits { cpu, memory, tasks, io }, taken) = (host.tree.in_force(&tag), host.tree.taken(&tag));
    let row = |key: &str, limit: Option<String>, used: Option<u64>, hits: Option<u64>| {
        Some(LimitUse { key: key.into(), limit: limit?, used, hits })
    };
    let text = |value: Option<u64>| value.map(|n| n.to_string());
    [
        row("cpu.shares", text(cpu.shares), None, None),
        row("cpu.cap", cpu.cap.map(|cap| cap.to_string()), None, taken.throttled),
        row("cpu.cpus", cpu.cpus.map(|cpus| cpus.to_string()), None, None),
        row("memory.limit", memory.limit.map(|s| s.to_string()), taken.memory, taken.oom_kills),
        row("memory.high", memory.high.map(|s| s.to_string()), taken.memory, None),
        row("memory.swap", memory.swap.map(|s| s.to_string()), None, None),
        row("tasks.max", text(tasks.max), taken.tasks, taken.task_hits),
        row("io.weight", text(io.weight), None, None),
    ]
    .into_iter()
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
