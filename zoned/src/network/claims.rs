//! Which address, hardware address and port of the host is whose.
//!
//! Claimed when a configuration is accepted, before it is written anywhere, so that two zones never get the same.
//! Addresses out of the pool are kept beside the configuration, for as long as the zone exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zoned_api::{
    ZoneConfig,
    config::{Forward, Mac, Net, NetAddress, NetMode},
};

use super::{error::NetworkError, pool::Pools};
use crate::store::{self, StoreError, atomic::Keep, record::VERSION};

/// File in a zone's folder.
const FILE: &str = "net.json";

/// Addresses out of the pool, by the interface's name.
pub type Leases = BTreeMap<String, BTreeSet<IpAddr>>;

/// What one zone has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// For messages.
    pub zone: String,
    /// What of `addresses` is out of the pool.
    pub leases: Leases,
    /// Every address, by the place of its interface.
    pub addresses: Vec<Vec<IpNet>>,
    macs: BTreeSet<Mac>,
    forwards: Vec<Forward>,
}

/// What all zones have.
#[derive(Debug, Default)]
pub struct Claims(BTreeMap<Uuid, Claim>);

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    leases: Leases,
}

/// What a zone was given earlier.
pub fn load(folder: &Path) -> Result<Leases, StoreError> {
    match store::load::<Kept>(&folder.join(FILE)) {
        Ok(kept) => Ok(kept.leases),
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Leases::default())
        }
        Err(e) => Err(e),
    }
}

/// Keeps what a zone was given; a zone that never was given anything has no file.
pub fn keep(folder: &Path, leases: &Leases) -> Result<(), StoreError> {
    if leases.is_empty() && !folder.join(FILE).exists() {
        return Ok(());
    }
    let kept = Kept { version: VERSION, leases: leases.clone() };
    store::save(&folder.join(FILE), &kept, Keep::ThroughCrash)
}

impl Claims {
    /// Of a zone.
    pub fn get(&self, zone: &Uuid) -> Option<&Claim> {
        self.0.get(zone)
    }

    /// Replaces what a zone has.
    pub fn put(&mut self, zone: Uuid, claim: Option<Claim>) -> Option<Claim> {
        match claim {
            Some(claim) => self.0.insert(zone, claim),
            None => self.0.remove(&zone),
        }
    }

    /// What a configuration asks for, if the others leave it. `had` are the addresses it was given before, `in_use`
    /// those that others run with.
    pub fn work_out(
        &self,
        zone: &Uuid,
        config: &ZoneConfig,
        had: &Leases,
        pools: Option<&Pools>,
        in_use: &BTreeMap<IpAddr, String>,
    ) -> Result<Claim, NetworkError> {
        let mut claim = Claim { zone: config.zone.to_string(), ..Claim::default() };
        let others = || self.0.iter().filter(|(other, _)| *other != zone).map(|(_, claim)| claim);
        let mut taken: BTreeSet<IpAddr> =
            others().flat_map(Claim::ips).chain(in_use.keys().copied()).collect();
        for (i, net) in config.net.iter().enumerate() {
            let fixed = net.address.iter().filter_map(|a| match a {
                NetAddress::Fixed(net) => Some(net),
                _ => None,
            });
            for address in fixed {
                fits(i, net, address, pools)?;
                let owner =
                    others().find(|other| other.ips().any(|ip| ip == address.addr())).map(|o| &o.zone);
                if let Some(other) = owner.or_else(|| in_use.get(&address.addr())) {
                    return Err(taken_by(
                        i,
                        ".address",
                        format!("{} is that of zone {other}", address.addr()),
                    ));
                }
                taken.insert(address.addr());
            }
            if let Some(mac) = net.mac
                && let Some(other) = others().find(|other| other.macs.contains(&mac))
            {
                return Err(taken_by(i, ".mac", format!("{mac} is that of zone {}", other.zone)));
            }
            for forward in &net.forward {
                let meets = |other: &&Claim| other.forwards.iter().any(|f| f.meets(forward));
                if let Some(other) = others().find(meets) {
                    let why = format!("{forward} of the host leads to zone {} already", other.zone);
                    return Err(taken_by(i, ".forward", why));
                }
            }
            claim.forwards.extend(net.forward.iter().cloned());
            claim.macs.extend(net.mac);
        }
        for (i, net) in config.net.iter().enumerate() {
            let given = give(i, net, had, &mut taken, pools, &mut claim.leases)?;
            claim.addresses.push(given);
        }
        Ok(claim)
    }
}

impl Claim {
    fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().flatten().map(IpNet::addr)
    }
}

/// Whether an address that was written out can be reached over the zones' bridge.
fn fits(i: usize, net: &Net, address: &IpNet, pools: Option<&Pools>) -> Result<(), NetworkError> {
    let Some(pools) = pools.filter(|_| net.mode == NetMode::Bridge) else { return Ok(()) };
    let own = pools.of(address.addr());
    if address.trunc() != own {
        let why = format!("{address} is not in the zones' network, {own}");
        return Err(refuse(i, ".address", why));
    }
    if !pools.offers(address.addr()) {
        return Err(refuse(i, ".address", format!("{} is the host's own", address.addr())));
    }
    Ok(())
}

/// The addresses of one interface: those written out, those it had, and free ones.
fn give(
    i: usize,
    net: &Net,
    had: &Leases,
    taken: &mut BTreeSet<IpAddr>,
    pools: Option<&Pools>,
    leases: &mut Leases,
) -> Result<Vec<IpNet>, NetworkError> {
    let (name, mut given) = (net.name_at(i), Vec::new());
    for address in net.addresses() {
        let v4 = match address {
            NetAddress::Fixed(fixed) => {
                given.push(fixed);
                continue;
            }
            NetAddress::Ipv4 => true,
            NetAddress::Ipv6 => false,
        };
        let Some(pools) = pools else { continue };
        let earlier = had.get(&name).into_iter().flatten().copied();
        let earlier =
            earlier.filter(|ip| ip.is_ipv4() == v4 && pools.offers(*ip)).find(|ip| !taken.contains(ip));
        let Some(ip) = earlier.or_else(|| pools.free(v4, taken)) else {
            let net = if v4 { IpNet::V4(pools.v4) } else { IpNet::V6(pools.v6) };
            return Err(refuse(i, ".address", format!("no address of the zones' network, {net}, is free")));
        };
        taken.insert(ip);
        leases.entry(name.clone()).or_default().insert(ip);
        given.push(IpNet::new_assert(ip, pools.of(ip).prefix_len()));
    }
    Ok(given)
}

fn refuse(i: usize, key: &str, why: String) -> NetworkError {
    NetworkError::Claim(format!("configuration: net[{i}]{key}: {why}"))
}

fn taken_by(i: usize, key: &str, why: String) -> NetworkError {
    NetworkError::Others(format!("configuration: net[{i}]{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools() -> Pools {
        Pools { v4: "10.77.0.0/29".parse().unwrap(), v6: "fd00::/64".parse().unwrap() }
    }

    fn take(claims: &mut Claims, zone: u128, net: &str) -> Result<Vec<String>, String> {
        let uuid = Uuid::from_u128(zone);
        let config = ZoneConfig::parse(&format!("zone: z{zone}\nnet: {net}")).unwrap();
        let had = claims.get(&uuid).map(|c| c.leases.clone()).unwrap_or_default();
        let claim = claims
            .work_out(&uuid, &config, &had, Some(&pools()), &BTreeMap::new())
            .map_err(|e| e.to_string())?;
        let given = claim.addresses.iter().flatten().map(ToString::to_string).collect();
        claims.put(uuid, Some(claim));
        Ok(given)
    }

    #[test]
    fn each_zone_gets_its_own_and_keeps_it() {
        let mut claims = Claims::default();
        assert_eq!(take(&mut claims, 1, "[{}]").unwrap(), ["10.77.0.2/29", "fd00::2/64"]);
        assert_eq!(
            take(&mut claims, 2, "[{}, { address: [ipv4] }]").unwrap(),
            ["10.77.0.3/29", "fd00::3/64", "10.77.0.4/29"]
        );
        claims.put(Uuid::from_u128(1), None);
        assert_eq!(take(&mut claims, 2, "[{}]").unwrap(), ["10.77.0.3/29", "fd00::3/64"]);
        assert_eq!(take(&mut claims, 3, "[{}]").unwrap()[0], "10.77.0.2/29", "a freed one is given again");
    }

    #[test]
    fn what_another_zone_has_is_refused_and_nothing_taken() {
        let mut claims = Claims::default();
        take(
            &mut claims,
            1,
            "[{ address: [10.77.0.5/29], mac: '02:00:00:00:00:01', forward: [{ listen: 80 }] }]",
        )
        .unwrap();
        for (net, want) in [
            ("[{ address: [10.77.0.5/29] }]", "net[0].address: 10.77.0.5 is that of zone z1"),
            ("[{ mac: '02:00:00:00:00:01' }]", "net[0].mac: 02:00:00:00:00:01 is that of zone z1"),
            ("[{ forward: [{ listen: 80, address: 192.0.2.1 }] }]", "80/tcp of the host leads to zone z1"),
            ("[{ address: [10.78.0.5/29] }]", "not in the zones' network, 10.77.0.0/29"),
            ("[{ address: [10.77.0.1/29] }]", "the host's own"),
        ] {
            let why = take(&mut claims, 2, net).unwrap_err();
            assert!(why.contains(want), "{why}");
            assert_eq!(claims.get(&Uuid::from_u128(2)), None);
        }
        take(&mut claims, 2, "[{ forward: [{ listen: 80, protocol: udp }] }]").unwrap();
    }

    #[test]
    fn a_pool_that_is_used_up_says_so() {
        let mut claims = Claims::default();
        (1..=5).for_each(|zone| drop(take(&mut claims, zone, "[{}]").unwrap()));
        assert!(take(&mut claims, 6, "[{}]").unwrap_err().contains("no address of the zones' network"));
        assert!(take(&mut claims, 6, "[{ address: [ipv6] }]").is_ok());
    }

    #[test]
    fn what_was_given_survives_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), Leases::default());
        keep(folder.path(), &Leases::default()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let leases = Leases::from([("net0".into(), ["10.77.0.2".parse().unwrap()].into())]);
        keep(folder.path(), &leases).unwrap();
        assert_eq!(load(folder.path()).unwrap(), leases);
    }
}
