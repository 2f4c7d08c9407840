//! Limits of zones that run: set before anything runs, changed live, watched, and told.
//!
//! What is in force is in the kernel, in the zone's groups and in the volume it writes to; it outlives this daemon. Kept
//! here is only which boots there are to change and to watch, and a mount of each one's volume. Reaching a limit is an
//! event.

mod boot;
mod caps;
mod cpus;
mod disks;
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
    config::{Io, Limits},
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
        cgroup::{Disks, LimitError},
        volume::Usage,
    },
};

/// How often the kernel's counters are looked at: version 1 tells of refused forks to nobody.
const EVERY: Duration = Duration::from_secs(1);

/// The boots that have limits.
#[derive(Debug, Default)]
pub struct Keeper {
    kept: Mutex<Kept>,
    /// Held by whoever gives a boot CPUs or takes them back: nobody's are his affair alone.
    allotting: Mutex<()>,
}

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
    /// Whether a boot could begin beside those that run, before anything is made for it.
    pub fn can_begin(&self, host: &Host, identity: &Identity, config: &ZoneConfig) -> Result<(), BeginError> {
        Ok(self.can_give_cpus(host, identity, &config.cpu)?)
    }

    /// Sets the limits of a boot whose groups were just made, and mounts its volume.
    pub fn begin(
        &self,
        host: &Host,
        identity: &Identity,
        config: &ZoneConfig,
        dataset: &Dataset,
    ) -> Result<(), BeginError> {
        let mounted = disks::mount(&host.run_folder(&identity.uuid), dataset)?;
        let (volume, own) = mounted.unzip();
        let mut kept = self.lock();
        let limits = kept.changed.remove(&identity.uuid).unwrap_or_else(|| config.limits());
        let disks = disks::disks(host, config, own.map(|own| own.disk));
        host.tree.limit_new(&identity.tag(), &limits, &disks)?;
        let mut boot = Boot::new(&host.tree, identity, &limits, disks);
        (boot.volume, boot.own) = (volume, own);
        let writing = boot.writing.clone();
        let _one = lock(&writing);
        kept.boots.insert(identity.uuid, boot);
        drop(kept);
        Ok(self.give_cpus(host, &identity.uuid, &limits.cpu)?)
    }

    /// Takes over a boot of an earlier daemon's; what that one did not come to write is written.
    pub fn adopt(&self, host: &Arc<Host>, identity: &Identity, config: &ZoneConfig) {
        let own = disks::noted(&host.run_folder(&identity.uuid));
        let (disks, limits) = (disks::disks(host, config, own.map(|own| own.disk)), config.limits());
        if let Err(e) = host.tree.limit(&identity.tag(), &limits, &disks) {
            tracing::error!(zone = %identity.name, "not all of its limits are in force: {}", whole(&e));
        }
        let mut boot = Boot::new(&host.tree, identity, &limits, disks);
        boot.own = own;
        self.lock().boots.insert(identity.uuid, boot);
        if let Err(e) = self.allot_cpus(host, &identity.uuid, &limits.cpu) {
            tracing::error!(zone = %identity.name, "it runs on other CPUs than it was given: {}", whole(&e));
        }
        if let Dataset::Volume(file) = host.images.dataset(identity.uuid) {
            let (host, identity) = (host.clone(), identity.clone());
            tokio::task::spawn_blocking(move || host.limits.adopt_volume(&identity, &file));
        }
    }

    fn adopt_volume(&self, identity: &Identity, file: &Path) {
        let volume = disks::join(identity.name.as_str(), file);
        let mut kept = self.lock();
        if let Some(boot) = kept.boots.get_mut(&identity.uuid).filter(|boot| boot.tag == identity.tag()) {
            boot.volume = volume;
        } else {
            // It has ended meanwhile. To unmount may take long.
            drop(kept);
            drop(volume);
        }
    }

    /// Gives a zone other limits where it runs, by `write`. None if it does not.
    ///
    /// The kernel may have to reclaim memory for that, and to write what is in it to a disk: others go on meanwhile.
    fn change<T>(
        &self,
        status: &Status,
        limits: &Limits,
        write: impl FnOnce(&str, &Limits, &Disks) -> T,
    ) -> Option<T> {
        let uuid = status.uuid();
        let writing = {
            let mut kept = self.lock();
            kept.changed.remove(&uuid);
            kept.boots.get(&uuid).map(|boot| boot.writing.clone())
        };
        if let Some(writing) = writing {
            let _one = lock(&writing);
            // Else it has ended meanwhile; while it is there its groups are, until this has been let go.
            let now = self.seen(&uuid, |boot| (boot.tag.clone(), boot.disks.clone(), boot.dying));
            if let Some((tag, disks, dying)) = now {
                let limits = if dying { uncapped(limits) } else { limits.clone() };
                let written = write(&tag, &limits, &disks);
                self.lock().boots.get_mut(&uuid).into_iter().for_each(|boot| boot.give(&limits));
                return Some(written);
            }
        }
        if status.doing.is_some() {
            self.lock().changed.insert(uuid, limits.clone());
        }
        None
    }

    /// Lets a boot that is about to be killed use its disks as it can: a process that waits for one does not die.
    pub fn let_go(&self, host: &Host, identity: &Identity) {
        let writing = self.lock().boots.get_mut(&identity.uuid).map(|boot| {
            boot.dying = true;
            boot.writing.clone()
        });
        let _one = writing.as_ref().map(|writing| lock(writing));
        let (folder, dataset) = (host.run_folder(&identity.uuid), host.images.dataset(identity.uuid));
        let released = disks::release(host, &folder, &dataset);
        for e in host.tree.uncap_io(&identity.tag()).err().into_iter().chain(released.err()) {
            tracing::warn!(zone = %identity.name, "its disks stay capped: {}", whole(&e));
        }
    }

    /// Ends to watch a zone, of which nothing runs any more. Its groups are still there. Returns what could not be taken
    /// back.
    pub fn end(&self, host: &Host, zone: &Uuid) -> Vec<String> {
        let ended = {
            let mut kept = self.lock();
            kept.changed.remove(zone);
            kept.boots.remove(zone)
        };
        let released = disks::release(host, &host.run_folder(zone), &host.images.dataset(*zone));
        if let Some(mut boot) = ended {
            drop(lock(&boot.writing));
            boot.look_last(host);
        }
        released.err().map(|e| whole(&e)).into_iter().collect()
    }

    /// What is seen of a boot that runs. Waits for nothing.
    fn seen<T>(&self, zone: &Uuid, see: impl FnOnce(&Boot) -> T) -> Option<T> {
        self.lock().boots.get(zone).map(see)
    }

    /// Bytes that have come to be written to the disk of a zone that runs, where the kernel charges nobody for them.
    pub fn uncharged(&self, host: &Host, zone: &Uuid) -> u64 {
        let own = self.seen(zone, |boot| Some((boot.tag.clone(), boot.own?))).flatten();
        own.map_or(0, |(tag, own)| host.tree.uncharged(&tag, own.disk, own.before))
    }

    /// How full the volume of a zone that runs is, where it has one. Waits for nothing.
    pub fn usage(&self, zone: &Uuid) -> Option<Usage> {
        self.seen(zone, Boot::usage)?
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

/// The same limits without caps of disks.
fn uncapped(limits: &Limits) -> Limits {
    Limits { io: Io { weight: limits.io.weight, ..Io::default() }, ..limits.clone() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    let disks = disks::disks(host, config, None);
    host.tree.can_limit(&config.limits(), &disks).map_err(|e| refused("configuration", &e))
}

/// Whether a zone can have the CPUs of its next configuration beside the zones that run.
fn check_beside(host: &Host, status: &Status, next: &ZoneConfig) -> Result<(), LimitError> {
    host.limits.can_give_cpus(host, &status.identity(), &next.cpu)
}

/// The same for a zone that is to be booted, or might be.
pub(super) fn check_boot(host: &Host, status: &Status, next: &ZoneConfig) -> Result<(), ApiError> {
    check_beside(host, status, next).map_err(|e| refused(&format!("zone {}", status.config.zone), &e))
}

/// Gives a zone the limits of its next configuration, where it runs. True if it does. On an error some may be changed.
pub(super) fn change(host: &Host, status: &Status, next: &ZoneConfig) -> Result<bool, ApiError> {
    // Most changes are of something else.
    if next.limits() == status.config.limits() {
        return Ok(false);
    }
    let refused = |e| refused(&format!("zone {}", status.config.zone), &e);
    if status.run.is_some() && next.cpu != status.config.cpu {
        check_beside(host, status, next).map_err(refused)?;
    }
    let limit = |tag: &str, limits: &Limits, disks: &Disks| {
        host.tree.limit(tag, limits, disks)?;
        host.limits.give_cpus(host, &status.uuid(), &limits.cpu)
    };
    let changed = host.limits.change(status, &next.limits(), limit).transpose();
    changed.map(|now| now.is_some()).map_err(refused)
}

/// Gives a zone the limits back that it had, after a change that failed. Returns the error of that, with what could not
/// be put back.
pub(super) fn put_back(host: &Host, status: &Status, failed: ApiError) -> ApiError {
    let put_back = |tag: &str, limits: &Limits, disks: &Disks| {
        let mut left = host.tree.put_back(tag, limits, disks);
        left.extend(host.limits.give_cpus(host, &status.uuid(), &limits.cpu).err());
        left
    };
    let left = host.limits.change(status, &status.config.limits(), put_back).unwrap_or_default();
    if left.is_empty() {
        return failed;
    }
    let left = left.iter().map(|e| whole(e)).collect::<Vec<_>>().join("; ");
    let hint = "`zonectl info` shows what is in force; set it again once there is room";
    ApiError::failed(format!("{failed}; and not all could be put back: {left}"), Some(hint.into()))
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
        LimitError::Taken { hint, .. } => ApiError::invalid(message, Some((*hint).into())),
        LimitError::Dedicate { .. } => {
            let hint = "nothing was changed; groups of the host's own may have these CPUs: look at their cpuset.cpus";
            ApiError::failed(message, Some(hint.into()))
        }
        LimitError::Write { .. } => ApiError::failed(message, Some("nothing was changed".into())),
    }
}
