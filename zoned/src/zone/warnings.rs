//! What a configuration that is right names and the host has not: no reason to refuse it, since it may come.

use std::{collections::BTreeMap, fs::metadata};

use zoned_api::{
    ZoneConfig, ZoneName,
    config::{CpuSet, Image, Net, NetAddress, NetMode, Peer},
};

use super::preflight;
use crate::{fault::whole, network::own};

/// What there is to say of a configuration beside those of the zones there are, a sentence each.
pub fn warnings(config: &ZoneConfig, zones: &[&ZoneConfig], cpus: &CpuSet) -> Vec<String> {
    let mut all = waiting(config, zones);
    all.extend(cap(config, cpus));
    all.extend(dedicated(config, zones));
    all.extend(image(config));
    all.extend(peers(config, zones));
    all.extend(addresses(config));
    all.extend(preflight::missing(config));
    all.extend(preflight::of_no_use(config));
    all
}

/// Zones it waits for that are not there, or that wait for it.
fn waiting(config: &ZoneConfig, zones: &[&ZoneConfig]) -> Vec<String> {
    let mut known: BTreeMap<&ZoneName, &[ZoneName]> =
        zones.iter().map(|zone| (&zone.zone, zone.after.as_slice())).collect();
    known.insert(&config.zone, &config.after);
    let unknown = config.after.iter().filter(|name| !known.contains_key(name));
    let mut all: Vec<_> = unknown.map(|name| format!("after: no zone {name} is there")).collect();
    if let Some(way) = circle(&config.zone, &known) {
        let way: Vec<_> = way.iter().map(ToString::to_string).collect();
        all.push(format!("after: zones wait for each other and boot last: {}", way.join(" after ")));
    }
    all
}

/// The way from a zone back to itself along what each waits for, if there is one.
fn circle<'z>(zone: &'z ZoneName, known: &BTreeMap<&ZoneName, &'z [ZoneName]>) -> Option<Vec<&'z ZoneName>> {
    let mut ways = vec![vec![zone]];
    let mut seen = Vec::new();
    while let Some(way) = ways.pop() {
        let after = way.last().and_then(|last| known.get(last)).copied().unwrap_or_default();
        for next in after {
            let mut longer = way.clone();
            longer.push(next);
            if next == zone {
                return Some(longer);
            }
            if !seen.contains(&next) {
                seen.push(next);
                ways.push(longer);
            }
        }
    }
    None
}

/// Zones it may talk to that are not there.
fn peers(config: &ZoneConfig, zones: &[&ZoneConfig]) -> Vec<String> {
    let allowed =
        config.net.iter().enumerate().flat_map(|(i, net)| net.allow.iter().map(move |a| (i, &a.to)));
    let unknown = allowed.filter_map(|(i, to)| match to {
        Peer::Zone(name) if zones.iter().all(|zone| zone.zone != *name) => Some((i, name)),
        _ => None,
    });
    unknown.map(|(i, name)| format!("net[{i}].allow: no zone {name} is there")).collect()
}

/// Addresses that are the host's and should not be, or should be and are not.
fn addresses(config: &ZoneConfig) -> Vec<String> {
    let of = |(i, net): (usize, &Net)| {
        let foreign = net.forward.iter().filter_map(|forward| forward.address).filter(|ip| !own::has(*ip));
        let foreign = foreign.map(|ip| format!("net[{i}].forward: the host has no address {ip} now"));
        let fixed = net.address.iter().filter_map(|address| match address {
            NetAddress::Fixed(fixed) if net.mode == NetMode::Macvlan => Some(fixed.addr()),
            _ => None,
        });
        let twice =
            fixed.filter(|ip| own::has(*ip)).map(|ip| format!("net[{i}].address: {ip} is the host's own"));
        foreign.chain(twice).collect::<Vec<_>>()
    };
    config.net.iter().enumerate().flat_map(of).collect()
}

/// A cap that caps nothing.
fn cap(config: &ZoneConfig, cpus: &CpuSet) -> Option<String> {
    let (cap, may) = (config.cpu.cap?, config.cpu.cpus.as_ref().unwrap_or(cpus).count());
    let whose = if config.cpu.cpus.is_some() { "the zone may use" } else { "this host has" };
    (cap > may as f64).then(|| format!("cpu.cap: {cap} CPUs are more than the {may} that {whose}"))
}

/// Zones that want the same CPUs for themselves.
fn dedicated(config: &ZoneConfig, zones: &[&ZoneConfig]) -> Vec<String> {
    let wanted = |zone: &ZoneConfig| zone.cpu.cpus.clone().filter(|_| zone.cpu.dedicated);
    let Some(own) = wanted(config) else { return Vec::new() };
    let others = zones.iter().filter(|zone| zone.zone != config.zone);
    let both = others.filter_map(|zone| Some((&zone.zone, wanted(zone)?.common(&own)?)));
    let say = |(zone, both)| {
        format!("cpu.dedicated: zone {zone} has CPU {both} for itself too: one of both can run")
    };
    both.map(say).collect()
}

/// Why its image could not be installed now.
fn image(config: &ZoneConfig) -> Option<String> {
    let image = config.root.image.as_ref()?;
    let (Image::Tar(path) | Image::Dir(path)) = image else { return None };
    metadata(path).err().map(|e| format!("root.image: {path}: {}", whole(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_and_who_waits_for_whom() {
        let parse = |yaml: &str| ZoneConfig::parse(yaml).unwrap();
        let (db, log) = (parse("zone: db\nafter: [log]"), parse("zone: log\nafter: [web]"));
        let of = |yaml: &str| warnings(&parse(yaml), &[&db, &log], &CpuSet::parse("0-1").unwrap());
        assert!(of("zone: web").is_empty());
        let allow = "zone: web\nnet: [{ allow: [{ to: db }, { to: outside }, { to: nobody }] }]";
        assert_eq!(of(allow), ["net[0].allow: no zone nobody is there"]);
        assert_eq!(of("zone: other\nafter: [db, nobody]"), ["after: no zone nobody is there"]);
        assert_eq!(
            of("zone: web\nafter: [db]"),
            ["after: zones wait for each other and boot last: web after db after log after web"]
        );
        assert_eq!(
            of("zone: web\ncpu: { cap: 2.5 }"),
            ["cpu.cap: 2.5 CPUs are more than the 2 that this host has"]
        );
        let own = "zone: web\ncpu: { cap: 2, cpus: 1 }";
        assert_eq!(of(own), ["cpu.cap: 2 CPUs are more than the 1 that the zone may use"]);
        assert!(of("zone: web\ncpu: { cap: 2 }").is_empty());
        let own = parse("zone: own\ncpu: { cpus: 0-1, dedicated: true }");
        let beside = |yaml: &str| warnings(&parse(yaml), &[&own], &CpuSet::parse("0-3").unwrap());
        assert_eq!(
            beside("zone: web\ncpu: { cpus: 1-2, dedicated: true }"),
            ["cpu.dedicated: zone own has CPU 1 for itself too: one of both can run"]
        );
        assert!(beside("zone: web\ncpu: { cpus: 1-2 }").is_empty());
        let net = "zone: web\nnet: [{ forward: [{ listen: 80, address: 9.9.9.9 }, { listen: 81, address: 127.0.0.1 }] }]";
        assert_eq!(of(net), ["net[0].forward: the host has no address 9.9.9.9 now"]);
        // What is kept under its name counts no more.
        assert!(of("zone: log").is_empty());
        let all =
            of("zone: web\nroot: { image: 'tar:/no/such.tar' }\nfs: [{ source: /no/such, target: /a }]");
        assert!(all[0].starts_with("root.image: /no/such.tar: No such file"), "{all:?}");
        assert!(all[1].starts_with("fs[0].source: /no: No such file"), "{all:?}");
        assert!(of("zone: web\nroot: { image: 'dir:/usr' }").is_empty());
    }
}
