//! What is left of the CPUs to each zone, when those dedicated to one are nobody else's. Pure.

use zoned_api::config::{Cpu, CpuSet};

/// What these zones can ask of a host's CPUs beside each other: one that may run on CPUs which another has for itself may run
/// on the others alone.
pub(super) fn apart(zones: &[&Cpu], host: &CpuSet) -> Vec<Cpu> {
    let dedicated = |zone: &&&Cpu| zone.dedicated;
    let taken = zones.iter().filter(dedicated).filter_map(|zone| zone.cpus.clone());
    let Some(taken) = taken.reduce(|all, cpus| all.with(&cpus)) else {
        return zones.iter().copied().cloned().collect();
    };
    let left = |zone: &&Cpu| match zone.dedicated {
        true => Cpu::clone(zone),
        false => {
            // None at all: it could not be booted beside them.
            let cpus = zone.cpus.as_ref().unwrap_or(host).without(&taken).unwrap_or_default();
            Cpu { cpus: Some(cpus), ..Cpu::clone(zone) }
        }
    };
    zones.iter().map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_for_itself_the_others_have_not() {
        let set = |text: &str| CpuSet::parse(text).unwrap();
        let zone = |cpus: Option<&str>, dedicated| Cpu { cpus: cpus.map(set), dedicated, ..Cpu::default() };
        let of = |zones: &[Cpu]| {
            let left = apart(&zones.iter().collect::<Vec<_>>(), &set("0-3"));
            left.iter().map(|cpu| cpu.cpus.as_ref().map(CpuSet::to_string)).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(&[zone(Some("1"), false), zone(None, false)]), [some("1"), None]);
        assert_eq!(
            of(&[zone(Some("1"), true), zone(None, false), zone(Some("1-2"), false), zone(Some("3"), true)]),
            [some("1"), some("0,2"), some("2"), some("3")]
        );
    }
}
