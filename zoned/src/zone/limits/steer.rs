//! Weights that follow what zones get: written in their turn with whatever else changes limits.

use std::{collections::HashMap, sync::TryLockError};

use uuid::Uuid;
use zoned_api::config::Cpu;

use super::Keeper;
use crate::{fault::whole, host::Host};

/// A change of weight below this part of it is not worth a write.
const WORTH: f64 = 0.0025;

/// What a boot was made to weigh instead of its shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Steered {
    /// Its shares.
    pub(super) shares: u64,
    /// The part of them.
    pub(super) factor: f64,
    /// What was written.
    pub(super) weight: u64,
}

impl Keeper {
    /// What each zone that runs is given of the CPUs.
    pub fn cpus(&self) -> HashMap<Uuid, Cpu> {
        self.lock().boots.iter().map(|(zone, boot)| (*zone, boot.cpu.clone())).collect()
    }

    /// Has a zone weigh a part of its shares, or more than them; 1 for just them. Somebody who changes its limits at this
    /// moment comes first.
    pub fn steer(&self, host: &Host, zone: &Uuid, factor: f64) {
        let Some((writing, now)) = self
            .lock()
            .boots
            .get(zone)
            .map(|boot| (boot.writing.clone(), boot.steered.map_or(1.0, |s| s.factor)))
        else {
            return;
        };
        if factor == now || (factor != 1.0 && (factor / now - 1.0).abs() < WORTH) {
            return;
        }
        let _one = match writing.try_lock() {
            Err(TryLockError::WouldBlock) => return,
            Ok(one) => one,
            Err(TryLockError::Poisoned(one)) => one.into_inner(),
        };
        // While this is held its groups are there, if it is.
        let Some((tag, shares)) =
            self.lock().boots.get(zone).map(|boot| (boot.tag.clone(), boot.cpu.counted_shares()))
        else {
            return;
        };
        if let Err(e) = host.tree.weigh(&tag, shares, factor) {
            return tracing::warn!("{}", whole(&e));
        }
        let weight = host.tree.weight_of(shares, factor).filter(|_| factor != 1.0);
        let steered = weight.map(|weight| Steered { shares, factor, weight });
        self.lock().boots.get_mut(zone).into_iter().for_each(|boot| boot.steered = steered);
    }

    /// Has every zone weigh its shares.
    pub fn steer_none(&self, host: &Host) {
        self.cpus().keys().for_each(|zone| self.steer(host, zone, 1.0));
    }

    /// What a zone was made to weigh, if not its shares.
    pub(super) fn steered(&self, zone: &Uuid) -> Option<Steered> {
        self.lock().boots.get(zone)?.steered
    }
}
