//! Limits of zones that run: set before anything runs, changed live, watched, and told.
//!
//! What is in force is in the kernel, in the zone's groups and in the volume it writes to; it outlives this daemon. Kept
//! here is only which boots there are to change and to watch, and a mount of each one's volume. Reaching a limit is an
//! event.

mod boot;
mod steer;
mod uses;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;
use zoned_api::{
    ApiError, ZoneConfig,
    config::{Cpu, Limits},
    error::Fault,
};

use self::boot::Boot;
pub use self::uses::uses;
use super::status::Status;
use crate::{
    fault::whole,
    host::Host,
    plan::{Dataset, Identity},
    platform::{
        Failure,
        cgroup::{LimitError, Tree},
        volume::{self, Usage, Volume},
    },
};

/// How often the kernel's counters are looked at: version 1 tells of refused forks to nobody.
const EVERY: Duration = Duration::from_secs(1);

/// The boots that have limits.
#[derive(Debug, Default)]
pub struct Keeper(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    boots: HashMap<Uuid, Boot>,
    /// Limits that were changed while a boot was on its way.
    changed: HashMap<Uuid, Limits>,
}

/// Why a boot cannot begin within its limits.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// A limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// What it writes to cannot be mounted.
    #[error("{0}")]
    Volume(#[from] Failure),
}

impl Keeper {
    /// Sets the limits of a boot whose groups were just made, and mounts its volume: nobody else has it mounted yet.
    pub fn begin(
        &self,
        tree: &Tree,
        identity: &Identity,
        config: &ZoneConfig,
        dataset: &Dataset,
    ) -> Result<(), BeginError> {
        let volume = match dataset {
            Dataset::Volume(file) => Some(volume::mount(file)?),
            Dataset::Folder(_) => None,
        };
        let mut kept = self.lock();
        let limits = kept.changed.remove(&identity.uuid).unwrap_or_else(|| config.limits());
        tree.limit_new(&identity.tag(), &limits)?;
        kept.watch(tree, identity, limits.cpu, volume);
        Ok(())
    }

    /// Takes over a boot of an earlier daemon's; what that one did not come to write is written.
    pub fn adopt(&self, tree: &Tree, identity: &Identity, config: &ZoneConfig) {
        if let Err(e) = tree.limit(&identity.tag(), &config.limits()) {
            tracing::error!(zone = %identity.name, "not all of its limits are in force: {}", whole(&e));
        }
        self.lock().watch(tree, identity, config.cpu.clone(), None);
    }

    /// Mounts the volume of a boot that was taken over. Blocks while the zone forces to the disk what it has written.
    pub fn adopt_volume(&self, identity: &Identity, file: &Path) {
        let volume = volume::join(file).unwrap_or_else(|e| {
            tracing::warn!(zone = %identity.name, "how full its disk is cannot be told: {}", whole(&e));
            None
        });
        let mut kept = self.lock();
        if let Some(boot) = kept.boots.get_mut(&identity.uuid).filter(|boot| boot.tag == identity.tag()) {
            boot.volume = volume;
        } else {
            // It has ended meanwhile. To unmount may take long.
            drop(kept);
            drop(volume);
        }
    }

    /// Changes the limits of a zone where it runs. True if it does.
    ///
    /// The kernel may have to reclaim memory for that, and to write what is in it to a disk: others go on meanwhile.
    fn change(&self, tree: &Tree, status: &Status, limits: &Limits) -> Result<bool, LimitError> {
        let uuid = status.uuid();
        let writing = {
            let mut kept = self.lock();
            kept.changed.remove(&uuid);
            kept.boots.get(&uuid).map(|boot| boot.writing.clone())
        };
        if let Some(writing) = writing {
            let _one = lock(&writing);
            // Else it has ended meanwhile; while it is there its groups are, until this has been let go.
            let tag = self.lock().boots.get(&uuid).map(|boot| boot.tag.clone());
            if let Some(tag) = tag {
                tree.limit(&tag, limits)?;
                self.lock()
                    .boots
                    .get_mut(&uuid)
                    .into_iter()
                    .for_each(|boot| boot.set_cpu(limits.cpu.clone()));
                return Ok(true);
            }
        }
        if status.doing.is_some() {
            self.lock().changed.insert(uuid, limits.clone());
        }
        Ok(false)
    }

    /// Ends to watch a zone, of which nothing runs any more. Its groups are still there.
    pub fn end(&self, host: &Host, zone: &Uuid) {
        let ended = {
            let mut kept = self.lock();
            kept.changed.remove(zone);
            kept.boots.remove(zone)
        };
        if let Some(mut boot) = ended {
            drop(lock(&boot.writing));
            boot.look_last(host);
        }
    }

    /// How full the volume of a zone that runs is, where it has one. Waits for nothing.
    pub fn usage(&self, zone: &Uuid) -> Option<Usage> {
        self.lock().boots.get(zone)?.usage()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn watch(&mut self, tree: &Tree, identity: &Identity, cpu: Cpu, volume: Option<Volume>) {
        let (tag, name) = (identity.tag(), identity.name.clone());
        let counters = tree.counters(&tag);
        self.boots.insert(identity.uuid, Boot::new(tag, name, counters, cpu, volume));
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
    let changed = host.limits.change(&host.tree, status, &next.limits());
    changed.map_err(|e| refused(&format!("zone {}", status.config.zone), &e))
}

/// Gives a zone the limits back that it had.
pub(super) fn put_back(host: &Host, status: &Status) {
    if let Err(e) = host.limits.change(&host.tree, status, &status.config.limits()) {
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
