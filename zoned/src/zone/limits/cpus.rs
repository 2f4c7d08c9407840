//! CPUs of zones that run: given and taken back by one at a time, since what one has for itself the others have not.

use uuid::Uuid;
use zoned_api::config::Cpu;

use super::{Keeper, lock};
use crate::{
    host::Host,
    plan::Identity,
    platform::cgroup::{Asking, LimitError},
};

impl Keeper {
    /// Whether a zone could be given CPUs beside the others that run. No promise: another may be given them first.
    pub(super) fn can_give_cpus(&self, host: &Host, zone: &Identity, cpu: &Cpu) -> Result<(), LimitError> {
        let own = asking(zone.tag(), zone.name.to_string(), cpu);
        host.tree.can_allot(&own, &self.others(&zone.uuid))
    }

    /// Gives a boot CPUs, if it is to have others than it has been given. On an error it has those.
    pub(super) fn give_cpus(&self, host: &Host, zone: &Uuid, cpu: &Cpu) -> Result<(), LimitError> {
        let same = |given: &Cpu| (&given.cpus, given.dedicated) == (&cpu.cpus, cpu.dedicated);
        match self.seen(zone, |boot| same(&boot.cpu)) {
            Some(false) => self.allot_cpus(host, zone, cpu),
            _ => Ok(()),
        }
    }

    /// Gives a boot CPUs, whatever it was given.
    pub(super) fn allot_cpus(&self, host: &Host, zone: &Uuid, cpu: &Cpu) -> Result<(), LimitError> {
        let _one = lock(&self.allotting);
        let own = self.seen(zone, |boot| asking(boot.tag.clone(), boot.name.to_string(), cpu));
        // Else it has ended meanwhile.
        let Some(own) = own else { return Ok(()) };
        host.tree.allot(&own, &self.others(zone))?;
        if let Some(boot) = self.lock().boots.get_mut(zone) {
            (boot.cpu.cpus, boot.cpu.dedicated) = (own.cpus, own.dedicated);
        }
        Ok(())
    }

    /// Gives everybody the CPUs back that a boot had for itself. Goes on after errors; returns all.
    pub fn free_cpus(&self, host: &Host, zone: &Uuid, tag: &str) -> Vec<LimitError> {
        let _one = lock(&self.allotting);
        host.tree.free_cpus(tag, &self.others(zone))
    }

    /// What the others have been given.
    fn others(&self, but: &Uuid) -> Vec<Asking> {
        let kept = self.lock();
        let others = kept.boots.iter().filter(|(zone, _)| *zone != but);
        others.map(|(_, boot)| asking(boot.tag.clone(), boot.name.to_string(), &boot.cpu)).collect()
    }
}

fn asking(tag: String, zone: String, cpu: &Cpu) -> Asking {
    Asking { tag, zone, cpus: cpu.cpus.clone(), dedicated: cpu.dedicated }
}
