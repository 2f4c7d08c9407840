//! Who can have which CPUs, and what is to be written for that in which order. Pure.

use zoned_api::config::CpuSet;

use super::{super::limits::LimitError, Asking, EXCLUSIVE, PARTITION};

/// Boots by their tags, with the CPUs that are theirs alone.
type Held = [(String, CpuSet)];

/// Whose group is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The boot's that is given CPUs, or the group of all zones.
    Own,
    /// Another boot's, which may end at any moment.
    Other,
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) key: &'static str,
    pub(super) target: Target,
    /// The boot; empty for the group of all zones.
    pub(super) tag: String,
    pub(super) file: &'static str,
    /// What it is to say, empty for nothing; None for what it says above.
    pub(super) value: Option<String>,
}

impl Step {
    fn new(tag: &str, file: &'static str, value: impl Into<String>) -> Self {
        let (key, target) = ("cpu.dedicated", Target::Own);
        Self { key, target, tag: tag.into(), file, value: Some(value.into()) }
    }
}

/// Why a boot cannot have the CPUs it asks for.
pub(super) fn conflict(own: &Asking, others: &[Asking], held: &Held, all: &CpuSet) -> Result<(), LimitError> {
    let holders = |cpus: &CpuSet| -> Vec<(String, CpuSet)> {
        held.iter().filter_map(|(tag, theirs)| Some((named(tag, others), theirs.common(cpus)?))).collect()
    };
    let refused = |key, why: String, hint| Err(LimitError::Taken { key, why, hint });
    let taken = taken(held);
    let Some(wanted) = own.wanted() else {
        let (Some(cpus), Some(taken)) = (&own.cpus, &taken) else { return Ok(()) };
        if cpus.without(taken).is_some() {
            return Ok(());
        }
        let all: Vec<_> = holders(cpus).iter().map(|(zone, both)| format!("{both} to zone {zone}")).collect();
        let why = format!("none of {cpus} is left: dedicated are {}", all.join(", "));
        return refused("cpu.cpus", why, "name other CPUs, or halt who has them for itself first");
    };
    if let Some((zone, both)) = holders(wanted).into_iter().next() {
        let why = format!("CPU {both} is dedicated to zone {zone} already");
        return refused("cpu.dedicated", why, "name other CPUs in cpu.cpus, or halt that zone first");
    }
    let taken = taken.map_or_else(|| wanted.clone(), |taken| taken.with(wanted));
    if all.without(&taken).is_none() {
        let why = format!("would leave nobody else a CPU: zones have {all}, and {taken} would be dedicated");
        return refused("cpu.dedicated", why, "name fewer CPUs in cpu.cpus, or take the key away");
    }
    let left_none = others.iter().filter(|other| !other.dedicated).find_map(|other| {
        let cpus = other.cpus.as_ref()?;
        cpus.without(&taken).is_none().then_some((&other.zone, cpus))
    });
    if let Some((zone, cpus)) = left_none {
        let why = format!("would leave zone {zone} no CPU, which may run on {cpus} alone");
        return refused("cpu.dedicated", why, "give that zone other CPUs in its cpu.cpus first, or halt it");
    }
    Ok(())
}

/// The zone of a boot; one that is being ended is known by its tag alone.
fn named(tag: &str, others: &[Asking]) -> String {
    others.iter().find(|other| other.tag == tag).map_or(tag, |other| &other.zone).to_owned()
}

/// All that is somebody's alone.
pub(super) fn taken(held: &Held) -> Option<CpuSet> {
    held.iter().map(|(_, cpus)| cpus.clone()).reduce(|all, cpus| all.with(&cpus))
}

/// The only thing to write where nobody has CPUs for himself.
pub(super) fn alone(own: &Asking) -> Step {
    Step {
        key: "cpu.cpus",
        value: own.cpus.as_ref().map(CpuSet::to_string),
        ..Step::new(&own.tag, "cpuset.cpus", "")
    }
}

/// What gives a boot the CPUs it asks for, which has `now` for itself. Each may be written in this order, and undone in the
/// opposite one: nobody is given a CPU that is still another's, and nobody keeps one that is to be.
pub(super) fn steps(own: &Asking, others: &[Asking], held: &Held, now: Option<&CpuSet>) -> Vec<Step> {
    let (wanted, theirs) = (own.wanted(), taken(held));
    let taken = theirs.iter().chain(wanted).cloned().reduce(|all, cpus| all.with(&cpus));
    let changes = now != wanted;
    let mut all = Vec::new();
    if changes {
        all.extend(off(&own.tag));
    }
    all.extend(narrowed(others, taken.as_ref()));
    let cpus = if own.dedicated { own.cpus.clone() } else { left(own.cpus.as_ref(), theirs.as_ref()) };
    all.push(alone(&Asking { cpus, ..own.clone() }));
    all.push(parent(taken.as_ref()));
    if let Some(wanted) = wanted.filter(|_| changes) {
        all.push(Step::new(&own.tag, EXCLUSIVE, wanted.to_string()));
        all.push(Step::new(&own.tag, PARTITION, "root"));
    }
    all
}

/// What gives back the CPUs that a boot has for itself, while `held` stay the others'.
pub(super) fn free(tag: &str, others: &[Asking], held: &Held) -> Vec<Step> {
    let taken = taken(held);
    let off = off(tag).map(|step| Step { target: Target::Other, ..step });
    off.into_iter().chain(narrowed(others, taken.as_ref())).chain([parent(taken.as_ref())]).collect()
}

fn off(tag: &str) -> [Step; 2] {
    [Step::new(tag, PARTITION, "member"), Step::new(tag, EXCLUSIVE, "")]
}

/// The group of all zones comes to be allowed what its zones have, and nothing else.
fn parent(taken: Option<&CpuSet>) -> Step {
    Step::new("", EXCLUSIVE, taken.map(CpuSet::to_string).unwrap_or_default())
}

/// Each of the others runs on what is left of its CPUs.
fn narrowed(others: &[Asking], taken: Option<&CpuSet>) -> impl Iterator<Item = Step> {
    others.iter().filter(|other| !other.dedicated).map(move |other| {
        let cpus = left(other.cpus.as_ref(), taken).map(|cpus| cpus.to_string()).unwrap_or_default();
        Step { target: Target::Other, ..Step::new(&other.tag, "cpuset.cpus", cpus) }
    })
}

/// Without CPUs of its own a zone follows the group of all zones, which the kernel narrows by itself.
fn left(cpus: Option<&CpuSet>, taken: Option<&CpuSet>) -> Option<CpuSet> {
    match taken {
        Some(taken) => cpus?.without(taken),
        None => cpus.cloned(),
    }
}

#[cfg(test)]
mod tests;
