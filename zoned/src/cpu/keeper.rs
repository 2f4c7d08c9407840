//! What keeps shares on this host, while the daemon lives: chosen when it starts, and again if the kernel takes its scheduler
//! away.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use uuid::Uuid;
use zone_ebpf_abi::Identity;
use zoned_api::{
    EventKind,
    config::{Cpu, CpuSet},
};

use super::{
    backend::{Backend, Choice, choose},
    caches,
    global::{Global, GlobalError},
};
use crate::{
    ebpf::{
        EbpfError,
        fss::{Present, Scheduler, present},
    },
    fault::whole,
    host::Host,
};

/// What keeps shares.
#[derive(Debug)]
pub struct Keeper {
    permitted: Vec<Backend>,
    choice: RwLock<Choice>,
    scheduler: Mutex<Loaded>,
    /// Locked before `scheduler`, where both are.
    global: Global,
}

/// The scheduler of this daemon's, if it has one.
#[derive(Debug, Default)]
struct Loaded {
    scheduler: Option<Scheduler>,
    /// It was taken away once, and loaded again.
    again: bool,
    /// Which zones have which CPUs for themselves, as it knows it; none if nobody has told it yet.
    told: Option<Vec<(Identity, CpuSet)>>,
    /// Which CPUs were online when it was told of their caches.
    placed: Option<String>,
}

impl Keeper {
    /// Of those backends, best first, with the shares of `global` that are kept in a state folder. None is in force until
    /// [`Keeper::begin`].
    pub fn new(permitted: Vec<Backend>, state_dir: &Path) -> Self {
        Keeper {
            permitted,
            choice: RwLock::default(),
            scheduler: Mutex::default(),
            global: Global::open(state_dir),
        }
    }

    /// Shares that were asked for `global`, whether they are kept here or not.
    pub fn global_shares(&self) -> u32 {
        self.global.shares()
    }

    /// Why what was asked for `global` is not known.
    pub fn global_fault(&self) -> Option<String> {
        self.global.fault()
    }

    /// `global` as one who has a part of the CPUs beside the zones; none where its shares are not kept.
    pub fn global_cpu(&self) -> Option<Cpu> {
        let shares = Some(u64::from(self.global.shares()));
        (self.in_force() == Some(Backend::Fss)).then(|| Cpu { shares, ..Cpu::default() })
    }

    /// Gives `global` shares (1 to 10000), at once where they are kept, and for the daemons to come.
    pub fn give_global(&self, shares: u32) -> Result<(), GlobalError> {
        self.global.change(shares, |shares| match &self.scheduler().scheduler {
            Some(scheduler) => scheduler.weigh_host(shares),
            None => Ok(()),
        })
    }

    /// What is in force, and why nothing better is.
    pub fn choice(&self) -> Choice {
        self.choice.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is in force.
    pub fn in_force(&self) -> Option<Backend> {
        self.choice.read().unwrap_or_else(PoisonError::into_inner).in_force
    }

    /// Chooses, and starts what is chosen. Loading the scheduler takes as long as the kernel takes to verify it.
    pub(super) fn begin(&self, host: &Host) {
        let choice = choose(&self.permitted, |backend| self.start(host, backend));
        if choice.in_force != Some(Backend::Fss) {
            // An earlier daemon's, which was permitted.
            host.metering.remove_scheduler();
        }
        tracing::info!("CPU shares are kept by {choice}");
        self.set(choice);
    }

    fn start(&self, host: &Host, backend: Backend) -> Result<(), String> {
        if !host.tree.has_weights() {
            return Err("zones have no cpu controller on this host".into());
        }
        if backend != Backend::Fss {
            return Ok(());
        }
        match present() {
            Present::Unknown => return Err("this kernel has no sched_ext".into()),
            Present::Other(name) => return Err(format!("the scheduler {name} is loaded")),
            Present::None | Present::Ours => {}
        }
        if !host.tree.weighs_by_version_2() {
            // Weights and caps of version 1 are told by groups that are no zones'.
            return Err("the cpu controller is of cgroup version 1".into());
        }
        let scheduler = host.metering.scheduler().map_err(|e| whole(&e))?;
        // It may have been adopted with other shares of the host's, or begin with the usual ones.
        self.global.with(|shares| {
            scheduler.weigh_host(shares).map_err(|e| whole(&e))?;
            let mut loaded = self.scheduler();
            (loaded.scheduler, loaded.told, loaded.placed) = (Some(scheduler), None, None);
            Ok(())
        })
    }

    /// Has the scheduler know which CPUs are whose alone, if that has changed. The cpusets hold everybody to it at once; what
    /// the scheduler makes of it can wait until this is called again.
    fn tell_dedicated(&self, host: &Host) {
        let sets = match dedicated(host) {
            Ok(Some(sets)) => sets,
            // A boot has its CPUs, and no slot yet.
            Ok(None) => return,
            Err(e) => {
                tracing::error!("which CPUs are dedicated to whom is not known: {}", whole(&e));
                return;
            }
        };
        let mut loaded = self.scheduler();
        let Loaded { scheduler: Some(scheduler), told, .. } = &mut *loaded else { return };
        if told.as_ref() == Some(&sets) {
            return;
        }
        let numbers: Vec<_> = sets.iter().map(|(zone, cpus)| (*zone, cpus.numbers())).collect();
        match scheduler.dedicate(&numbers) {
            Ok(()) => *told = Some(sets),
            Err(e) => {
                tracing::error!("the scheduler does not know which CPUs are dedicated: {}", whole(&e));
            }
        }
    }

    /// Has the scheduler know which CPUs share a cache, if others are online now.
    fn tell_caches(&self) {
        let online = caches::online();
        let mut loaded = self.scheduler();
        let Loaded { scheduler: Some(scheduler), placed, .. } = &mut *loaded else { return };
        if online.is_none() || *placed == online {
            return;
        }
        match scheduler.place(&caches::last_level()) {
            Ok(()) => *placed = online,
            Err(e) => tracing::error!("the scheduler does not know which CPUs share a cache: {}", whole(&e)),
        }
    }

    /// Looks whether the scheduler still works. One that the kernel has taken away is loaded again once; then others keep
    /// shares as well as they can.
    pub(super) fn look_after(&self, host: &Host) {
        if self.in_force() != Some(Backend::Fss) {
            return;
        }
        if present() == Present::Ours {
            self.tell_dedicated(host);
            self.tell_caches();
            return;
        }
        let mut loaded = self.scheduler();
        let ended = loaded.scheduler.take().and_then(|scheduler| scheduler.ended().ok().flatten());
        let why = ended.map_or_else(|| "somebody removed it".to_owned(), |ended| ended.reason);
        let again = std::mem::replace(&mut loaded.again, true);
        drop(loaded);
        tracing::error!("the kernel has taken the scheduler away: {why}");
        let choice = choose(&self.permitted, |backend| match backend {
            Backend::Fss if again => {
                Err(format!("the kernel has taken it away twice, the last time for: {why}"))
            }
            other => self.start(host, other),
        });
        if choice.in_force != Some(Backend::Fss) {
            host.metering.remove_scheduler();
        }
        tracing::warn!("CPU shares are kept by {choice} from now on");
        let backend = choice.in_force.map(|backend| backend.to_string());
        host.journal.note(None, EventKind::SchedulerLost { reason: why, backend });
        self.set(choice);
    }

    fn set(&self, choice: Choice) {
        *self.choice.write().unwrap_or_else(PoisonError::into_inner) = choice;
    }

    fn scheduler(&self) -> MutexGuard<'_, Loaded> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Zones that have CPUs for themselves, with those; none while one of them has no slot. A zone that is booted again is another
/// to the programs.
fn dedicated(host: &Host) -> Result<Option<Vec<(Identity, CpuSet)>>, EbpfError> {
    let own = |(zone, cpu): (Uuid, Cpu)| Some((zone, cpu.cpus.filter(|_| cpu.dedicated)?));
    let zones: Vec<_> = host.limits.cpus().into_iter().filter_map(own).collect();
    if zones.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let assigned = host.metering.assigned()?;
    let identity = |zone: &Uuid| {
        let one = assigned.iter().find(|one| one.zone == *zone)?;
        Some(Identity { slot: one.slot, generation: one.generation })
    };
    let sets: Option<Vec<_>> = zones.into_iter().map(|(zone, cpus)| Some((identity(&zone)?, cpus))).collect();
    Ok(sets.map(|mut sets| {
        sets.sort_by_key(|(of, _)| of.slot);
        sets
    }))
}
