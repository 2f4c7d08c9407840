//! The zones' own networks: one of IPv4, one of IPv6, and which address in them is free.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{error::NetworkError, netlink::Netlink};
use crate::store::{self, StoreError, atomic::Keep, record::VERSION};

/// Most addresses that are looked at for a free one.
const SEARCHED: u128 = 1 << 20;

/// The zones' own networks. The first address of each is the host's, on the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    /// IPv4.
    pub v4: Ipv4Net,
    /// IPv6.
    pub v6: Ipv6Net,
}

/// Their file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    #[serde(flatten)]
    pools: Pools,
}

impl Pools {
    /// Those asked for; else those of last time; else some that meet no route of the host. Kept for next time.
    pub fn choose(file: &Path, v4: Option<Ipv4Net>, v6: Option<Ipv6Net>) -> Result<Self, NetworkError> {
        let kept = match store::load::<Kept>(file) {
            Ok(kept) => Some(kept.pools),
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        let routes = || {
            Netlink::open()
                .and_then(|mut n| n.destinations())
                .map_err(NetworkError::link("look at", "the host's routes"))
        };
        let v4 = match v4.or(kept.map(|k| k.v4)) {
            Some(v4) => v4.trunc(),
            None => free_v4(&routes()?).ok_or(NetworkError::NoNetwork)?,
        };
        let v6 = v6.or(kept.map(|k| k.v6)).map_or_else(local_v6, |v6| v6.trunc());
        let pools = Self { v4, v6 };
        if kept != Some(pools) {
            store::save(file, &Kept { version: VERSION, pools }, Keep::ThroughCrash)?;
        }
        Ok(pools)
    }

    /// Both.
    pub fn nets(&self) -> [IpNet; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// The host's addresses on the bridge.
    pub fn gateways(&self) -> [IpNet; 2] {
        let v4 = Ipv4Addr::from_bits(self.v4.network().to_bits() + 1);
        let v6 = Ipv6Addr::from_bits(self.v6.network().to_bits() + 1);
        [
            IpNet::new_assert(v4.into(), self.v4.prefix_len()),
            IpNet::new_assert(v6.into(), self.v6.prefix_len()),
        ]
    }

    /// The network an address of this family is from.
    pub fn of(&self, ip: IpAddr) -> IpNet {
        if ip.is_ipv4() { self.v4.into() } else { self.v6.into() }
    }

    /// Whether a zone can have the address.
    pub fn offers(&self, ip: IpAddr) -> bool {
        let net = self.of(ip);
        let edge = ip == net.network() || (ip.is_ipv4() && ip == net.broadcast());
        net.contains(&ip) && !edge && self.gateways().iter().all(|gateway| gateway.addr() != ip)
    }

    /// The lowest free address.
    pub fn free(&self, v4: bool, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let at = |n: u128| {
            if v4 {
                IpAddr::V4(Ipv4Addr::from_bits(self.v4.network().to_bits().wrapping_add(n as u32)))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(self.v6.network().to_bits().wrapping_add(n)))
            }
        };
        let bits = if v4 { 32 - self.v4.prefix_len() } else { 128 - self.v6.prefix_len() };
        let count = 1_u128.checked_shl(bits.into()).unwrap_or(SEARCHED).min(SEARCHED);
        (2..count).map(at).find(|ip| self.offers(*ip) && !taken.contains(ip))
    }
}

/// The first of the zones' networks that a route of the host's leads into, and that route: one of the two would not be reached.
/// A route to more than the whole of it, as of a site, is none: a part of that may be the zones'. Those by the bridge are ours.
pub(super) fn taken(
    nets: &[IpNet],
    routes: &[(IpNet, Option<u32>)],
    bridge: Option<u32>,
) -> Option<(IpNet, IpNet)> {
    let others = routes.iter().filter(|(_, by)| by.is_none() || *by != bridge).map(|(to, _)| to);
    others.into_iter().find_map(|to| nets.iter().find(|net| net.contains(to)).map(|net| (*net, *to)))
}

/// A private network that meets no route.
fn free_v4(routes: &[(IpNet, Option<u32>)]) -> Option<Ipv4Net> {
    let ten = (77..=255).chain(1..77).map(|n| Ipv4Addr::new(10, n, 0, 0));
    let others = (16..32).map(|n| Ipv4Addr::new(172, n, 0, 0));
    let candidates = ten.chain(others).filter_map(|ip| Ipv4Net::new(ip, 16).ok());
    let meets = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    candidates.into_iter().find(|net| !routes.iter().any(|(route, _)| meets(route, &IpNet::V4(*net))))
}

/// A network of this host's own (RFC 4193): forty random bits.
fn local_v6() -> Ipv6Net {
    let [a, b, c, d, e, ..] = *uuid::Uuid::new_v4().as_bytes();
    let prefix = Ipv6Addr::from([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Ipv6Net::new_assert(prefix, 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(v4: &str) -> Pools {
        Pools { v4: v4.parse().unwrap(), v6: "fd00::/64".parse().unwrap() }
    }

    #[test]
    fn the_first_address_is_the_hosts_and_the_next_free_one_a_zones() {
        let pools = pools("10.77.0.0/16");
        assert_eq!(pools.gateways().map(|g| g.to_string()), ["10.77.0.1/16", "fd00::1/64"]);
        let mut taken = BTreeSet::new();
        for want in ["10.77.0.2", "10.77.0.3"] {
            let ip = pools.free(true, &taken).unwrap();
            assert_eq!(ip.to_string(), want);
            taken.insert(ip);
        }
        assert_eq!(pools.free(false, &taken).unwrap().to_string(), "fd00::2");
        assert!(!pools.offers("10.77.0.1".parse().unwrap()) && !pools.offers("10.78.0.9".parse().unwrap()));
    }

    #[test]
    fn a_small_network_is_used_up() {
        let pools = pools("10.0.0.0/30");
        let first = pools.free(true, &BTreeSet::new()).unwrap();
        assert_eq!(first.to_string(), "10.0.0.2");
        assert_eq!(pools.free(true, &BTreeSet::from([first])), None);
    }

    #[test]
    fn a_network_of_the_hosts_own_is_known_by_its_routes() {
        let pools = pools("10.77.0.0/16");
        let taken = |to: &str, by| {
            let routes = [(to.parse().unwrap(), by)];
            super::taken(&pools.nets(), &routes, Some(7)).map(|(_, route)| route.to_string())
        };
        assert_eq!(taken("10.77.3.0/24", Some(2)).as_deref(), Some("10.77.3.0/24"));
        assert_eq!(taken("10.77.0.0/16", None).as_deref(), Some("10.77.0.0/16"));
        assert_eq!(taken("fd00::5/128", Some(2)).as_deref(), Some("fd00::5/128"));
        assert_eq!(taken("10.77.0.0/16", Some(7)), None, "the bridge's own");
        assert_eq!(taken("10.0.0.0/8", Some(2)), None);
        assert_eq!(taken("10.78.0.0/16", Some(2)), None);
    }

    #[test]
    fn a_network_the_host_reaches_otherwise_is_left_alone() {
        let routes = |all: &[&str]| all.iter().map(|r| (r.parse().unwrap(), None)).collect::<Vec<_>>();
        let chosen = |all: &[&str]| free_v4(&routes(all)).map(|net| net.to_string());
        assert_eq!(chosen(&["fe80::/64"]).as_deref(), Some("10.77.0.0/16"));
        assert_eq!(chosen(&["10.77.3.0/24"]).as_deref(), Some("10.78.0.0/16"));
        assert_eq!(chosen(&["10.0.0.0/8"]).as_deref(), Some("172.16.0.0/16"));
        assert_eq!(chosen(&["10.0.0.0/8", "172.16.0.0/12"]), None);
    }
}
