//! What zones share of the network: bridge, addresses, firewall. And the interfaces of each.
//!
//! ```text
//!                        host                          │ zone (its own network namespace)
//!  uplink ◀─ forward, NAT ─▶ bridge ◀─ isolated port ──┼── net0   address/32, default route to the bridge's address
//!              nftables          ▲          ▲          │
//!         connections, who   address   own addresses   │
//! ```
//! The bridge and the table are made with the first zone that needs them, and go when a daemon ends that has no zone
//! left. A zone's interfaces are made when its first process is born, before it runs anything, and go with its
//! namespace. Every link bears the zone's UUID and boot, so that tear-down and audit need no memory.

mod bridge;
pub mod claims;
mod error;
mod firewall;
mod forwarding;
mod inside;
mod links;
pub mod netlink;
mod nftables;
pub mod own;
mod pool;
mod resolver;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use ipnet::{Ipv4Net, Ipv6Net};
use uuid::Uuid;
use zoned_api::{
    ZoneConfig,
    config::{Mac, Net, NetMode, Peer},
    report::Interface as Seen,
};

use self::{
    bridge::InForce,
    claims::{Claim, Claims, Leases},
    firewall::Live,
    netlink::Netlink,
    pool::Pools,
};
pub use self::{bridge::watch, error::NetworkError};
use crate::plan::{
    Identity,
    network::{Connection, Interface, NetworkPlan, link_name},
};

/// Number inside of the first interface, for those whose number has to be known: beyond those of tunnels that come with
/// a namespace.
const FIRST_NUMBER: u32 = 100;

/// What the daemon was told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the bridge, and of the table.
    pub bridge: String,
    /// The zones' IPv4 network.
    pub v4: Option<Ipv4Net>,
    /// The zones' IPv6 network.
    pub v6: Option<Ipv6Net>,
    /// Interfaces behind which the outside is.
    pub uplinks: Vec<String>,
}

/// The network all zones share. One per daemon.
#[derive(Debug)]
pub struct Network {
    settings: Settings,
    /// Alias of the bridge, by which it is known to be this daemon's.
    label: String,
    /// Where the zones' networks are kept.
    pools: PathBuf,
    /// Where it is noted what forwarding was before.
    before: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    claims: Claims,
    live: BTreeMap<Uuid, Live>,
    pools: Option<Pools>,
    /// The bridge is there.
    bridged: bool,
    /// Boots that have ended, and when: their links may be there still.
    vanishing: Vec<(Identity, Instant)>,
    /// The firewall as it was made last.
    in_force: Option<InForce>,
}

impl Network {
    /// Makes nothing yet.
    pub fn new(settings: Settings, state_dir: &Path, run_dir: &Path) -> Self {
        let (pools, before) = (state_dir.join("network.json"), run_dir.join("forwarding.json"));
        // An alias has 255 bytes at most (IFALIASZ).
        let label = format!("zoned {}", state_dir.display()).chars().take(60).collect();
        Self { settings, label, pools, before, inner: Mutex::default() }
    }

    /// Claims for a zone what its configuration asks for. Returns what it had, to be put back if nothing comes of it.
    pub fn claim(&self, zone: Uuid, config: &ZoneConfig) -> Result<Option<Claim>, NetworkError> {
        self.feasible(config)?;
        let mut inner = self.lock();
        let had = inner.claims.get(&zone).map(|claim| claim.leases.clone()).unwrap_or_default();
        self.claim_with(&mut inner, zone, config, &had)
    }

    /// Claims for a zone that is found what it was given earlier.
    pub fn restore(&self, zone: Uuid, config: &ZoneConfig, folder: &Path) -> Result<(), NetworkError> {
        let had = claims::load(folder)?;
        self.claim_with(&mut self.lock(), zone, config, &had).map(drop)
    }

    fn claim_with(
        &self,
        inner: &mut Inner,
        zone: Uuid,
        config: &ZoneConfig,
        had: &Leases,
    ) -> Result<Option<Claim>, NetworkError> {
        if config.net.iter().any(|net| net.mode == NetMode::Bridge) && inner.pools.is_none() {
            inner.pools = Some(Pools::choose(&self.pools, self.settings.v4, self.settings.v6)?);
        }
        let in_use = inner.in_use(&zone);
        let claim = inner.claims.work_out(&zone, config, had, inner.pools.as_ref(), &in_use)?;
        Ok(inner.claims.put(zone, Some(claim)))
    }

    /// What this daemon was not told to make possible.
    fn feasible(&self, config: &ZoneConfig) -> Result<(), NetworkError> {
        for (i, net) in config.net.iter().enumerate() {
            if self.settings.uplinks.is_empty() && net.allow.iter().any(|allow| allow.to == Peer::Outside) {
                let why = "zoned was started without --uplink, so nothing leads outside";
                return Err(NetworkError::Claim(format!("configuration: net[{i}].allow: {why}")));
            }
            if let Some(parent) = &net.parent
                && index(parent)?.is_none()
            {
                let why = format!("configuration: net[{i}].parent: the host has no interface {parent}");
                return Err(NetworkError::Claim(why));
            }
        }
        Ok(())
    }

    /// Puts back what a zone had, or takes from it what it has.
    pub fn put(&self, zone: Uuid, claim: Option<Claim>) {
        self.lock().claims.put(zone, claim);
    }

    /// Keeps what a zone was given in its folder.
    pub fn keep(&self, zone: &Uuid, folder: &Path) -> Result<(), crate::store::StoreError> {
        let leases = self.lock().claims.get(zone).map(|claim| claim.leases.clone()).unwrap_or_default();
        claims::keep(folder, &leases)
    }

    /// The network of a boot.
    pub fn plan(&self, zone: &Identity, config: &ZoneConfig) -> Result<NetworkPlan, NetworkError> {
        let mut plan = NetworkPlan { shared: config.is_on_host_network(), ..NetworkPlan::default() };
        if plan.shared || config.has_links() {
            plan.resolver = resolver::text(&config.resolver, plan.shared);
        }
        if !config.has_links() {
            return Ok(plan);
        }
        self.feasible(config)?;
        let mut inner = self.lock();
        if inner.claims.get(&zone.uuid).is_none() {
            // What kept it from being restored is told now.
            self.claim_with(&mut inner, zone.uuid, config, &Leases::default())?;
        }
        let given = inner.claims.get(&zone.uuid).map(|claim| claim.addresses.clone()).unwrap_or_default();
        let links = config.net.iter().zip(given).enumerate();
        plan.interfaces = links.filter_map(|(i, (net, given))| interface(zone, i, net, given)).collect();
        Ok(plan)
    }

    /// What a zone has, for people.
    pub fn seen(&self, zone: &Uuid, config: &ZoneConfig) -> Vec<Seen> {
        let inner = self.lock();
        let claim = inner.claims.get(zone);
        let given = |i: usize| claim.and_then(|c| c.addresses.get(i)).into_iter().flatten();
        let all = config.net.iter().enumerate().filter(|(_, net)| net.mode != NetMode::None);
        all.map(|(i, net)| Seen {
            name: net.name_at(i),
            mode: net.mode,
            mac: (net.mode != NetMode::Host).then(|| mac(zone, i, net)),
            addresses: given(i).map(ToString::to_string).collect(),
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Addresses that other zones run with, whatever their configurations say now.
    fn in_use(&self, zone: &Uuid) -> BTreeMap<IpAddr, String> {
        let others = self.live.iter().filter(|(other, _)| *other != zone);
        let all = others.flat_map(|(_, live)| live.interfaces.iter().map(move |i| (live, i)));
        all.flat_map(|(live, i)| i.addresses.iter().map(|net| (net.addr(), live.zone.clone()))).collect()
    }
}

fn interface(zone: &Identity, i: usize, net: &Net, addresses: Vec<ipnet::IpNet>) -> Option<Interface> {
    let to = match net.mode {
        NetMode::Bridge => Connection::Bridge { allow: net.allow.clone(), forward: net.forward.clone() },
        NetMode::Macvlan => {
            let (parent, gateway) = (net.parent.clone()?, net.gateway.clone());
            Connection::Macvlan { parent, gateway, number: FIRST_NUMBER + i as u32 }
        }
        NetMode::Host | NetMode::None => return None,
    };
    let (link, mac) = (link_name(zone, i), mac(&zone.uuid, i, net));
    Some(Interface { name: net.name_at(i), link, mac, addresses, to })
}

/// The hardware address of an interface: of the zone's own, so that it is the same with every boot.
fn mac(zone: &Uuid, place: usize, net: &Net) -> Mac {
    let [a, b, c, d, e, ..] = *zone.as_bytes();
    net.mac.unwrap_or(Mac([2, a, b, c, d, e ^ place as u8]))
}

fn index(name: &str) -> Result<Option<u32>, NetworkError> {
    let found = Netlink::open().and_then(|mut netlink| netlink.index(name));
    found.map_err(NetworkError::link("look for", name))
}
