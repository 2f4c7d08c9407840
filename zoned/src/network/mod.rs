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

pub mod claims;
mod error;
mod firewall;
mod forwarding;
mod inside;
pub mod netlink;
mod pool;
mod resolver;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use ipnet::{Ipv4Net, Ipv6Net};
use uuid::Uuid;
use zoned_api::{
    ZoneConfig,
    config::{MAX_INTERFACES, Mac, Net, NetMode, Peer},
    report::{Interface as Seen, Leftover},
};

pub use self::error::NetworkError;
use self::{
    claims::{Claim, Claims, Leases},
    firewall::{Live, Scene},
    netlink::{Link, Netlink},
    pool::Pools,
};
use crate::plan::{
    Identity,
    network::{Connection, Interface, NetworkPlan, link_name},
};

/// How long the kernel may take to remove the links of a namespace that is gone; it takes 20 ms.
const VANISHING: Duration = Duration::from_millis(300);

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

    /// Gives a zone its interfaces. Right also where some of it was done before.
    pub fn up(&self, zone: &Identity, plan: &NetworkPlan, first: u32) -> Result<(), NetworkError> {
        let tag = zone.tag();
        let namespace = inside::open(first, &tag)?;
        let mut inner = self.lock();
        let bridged = plan.interfaces.iter().any(|i| matches!(i.to, Connection::Bridge { .. }));
        if bridged {
            self.make_bridge(&mut inner)?;
        }
        inner.live.insert(zone.uuid, live(zone, plan));
        if bridged {
            // Before there is a link: no packet passes unfiltered.
            self.enforce(&inner)?;
        }
        let pools = inner.pools;
        drop(inner);
        let mut netlink = Netlink::open().map_err(NetworkError::link("open", "a netlink socket"))?;
        for interface in &plan.interfaces {
            self.connect(&mut netlink, interface, &namespace, &tag)?;
        }
        inside::configure(&namespace, &plan.interfaces, pools.as_ref())
    }

    fn connect(
        &self,
        netlink: &mut Netlink,
        interface: &Interface,
        inside: &std::os::fd::OwnedFd,
        tag: &str,
    ) -> Result<(), NetworkError> {
        let link = &interface.link;
        let at = |doing| NetworkError::link(doing, link.clone());
        let peer = netlink::Peer { name: &interface.name, mac: interface.mac, inside };
        let done = |made: std::io::Result<()>| match made {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            made => made,
        };
        match &interface.to {
            Connection::Macvlan { parent, .. } => {
                let missing =
                    || NetworkError::link("find", parent.clone())(std::io::ErrorKind::NotFound.into());
                let on = netlink.index(parent).map_err(at("look for"))?.ok_or_else(missing)?;
                done(netlink.add_macvlan(on, peer))
                    .map_err(NetworkError::link("make a macvlan on", parent.clone()))
            }
            Connection::Bridge { .. } => {
                let bridge = netlink.index(&self.settings.bridge).map_err(at("look for"))?.unwrap_or(0);
                done(netlink.add_veth(link, bridge, peer)).map_err(at("make"))?;
                let index = netlink.index(link).map_err(at("find"))?.unwrap_or(0);
                netlink.isolate(index).map_err(at("isolate"))?;
                netlink.up(index, tag).map_err(at("switch on"))
            }
        }
    }

    /// Takes a zone's network away, by its names alone. Returns what could not be.
    pub fn down(&self, zone: &Identity) -> Vec<String> {
        let mut problems = Vec::new();
        {
            let mut inner = self.lock();
            let was = inner.live.remove(&zone.uuid);
            if was.is_some()
                && inner.bridged
                && let Err(e) = self.enforce(&inner)
            {
                problems.push(crate::fault::whole(&e));
            }
        }
        let names: BTreeSet<String> = (0..MAX_INTERFACES).map(|i| link_name(zone, i)).collect();
        if let Err(e) = vanish(&names) {
            problems.push(format!("network: links of {} cannot be removed: {e}", zone.tag()));
        }
        problems
    }

    /// Takes over the network of a zone that runs.
    pub fn adopt(&self, zone: &Identity, plan: &NetworkPlan) {
        if !plan.interfaces.is_empty() {
            self.lock().live.insert(zone.uuid, live(zone, plan));
        }
    }

    /// Puts into force what follows from the zones that were taken over.
    pub fn refresh(&self) -> Result<(), NetworkError> {
        let mut inner = self.lock();
        let bridged = inner
            .live
            .values()
            .any(|l| l.interfaces.iter().any(|i| matches!(i.to, Connection::Bridge { .. })));
        let mut netlink = Netlink::open().map_err(NetworkError::link("open", "a netlink socket"))?;
        // Another daemon's bridge of that name is nothing to one that has no zone on it.
        if bridged || self.own_bridge(&mut netlink).is_ok_and(|bridge| bridge.is_some()) {
            self.make_bridge(&mut inner)?;
            self.enforce(&inner)?;
        }
        Ok(())
    }

    /// Takes away what was made for all zones, when none is left.
    pub fn close(&self) {
        let mut inner = self.lock();
        if !std::mem::take(&mut inner.bridged) {
            return;
        }
        let removed = || -> Result<(), NetworkError> {
            let bridge = &self.settings.bridge;
            let at = |doing| NetworkError::link(doing, bridge.clone());
            forwarding::set(&self.before, &[])?;
            firewall::apply(&firewall::removal(bridge))?;
            let mut netlink = Netlink::open().map_err(at("look for"))?;
            match netlink.index(bridge).map_err(at("look for"))? {
                Some(index) => netlink.delete(index).map_err(at("remove")),
                None => Ok(()),
            }
        };
        if let Err(e) = removed() {
            tracing::warn!("{}", crate::fault::whole(&e));
        }
    }

    /// Links that belong to no boot that lives. `zones` are all zones, `boots` the tags of boots.
    pub fn leftovers(&self, zones: &BTreeSet<Uuid>, boots: &BTreeSet<String>) -> Vec<Leftover> {
        let links = Netlink::open().and_then(|mut netlink| netlink.links()).unwrap_or_default();
        let ours = |link: &&Link| link.name == self.settings.bridge && link.alias == self.label;
        let bridge = links.iter().find(ours).map(|link| link.index);
        let ours = |link: &&Link| {
            let named = uuid_of(&link.alias).is_some_and(|uuid| zones.contains(&uuid));
            (named || (bridge.is_some() && link.master == bridge)) && !boots.contains(&link.alias)
        };
        let left = links.iter().filter(ours).map(|link| Leftover {
            kind: "link".into(),
            object: link.name.clone(),
            uuid: uuid_of(&link.alias).map(|uuid| uuid.to_string()),
        });
        left.collect()
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

    /// Number of the bridge, if it is there; an error if it is somebody else's.
    fn own_bridge(&self, netlink: &mut Netlink) -> Result<Option<u32>, NetworkError> {
        let name = &self.settings.bridge;
        let links = netlink.links().map_err(NetworkError::link("look for", name.clone()))?;
        match links.into_iter().find(|link| link.name == *name) {
            Some(link) if link.alias == self.label => Ok(Some(link.index)),
            Some(_) => Err(NetworkError::Foreign(name.clone())),
            None => Ok(None),
        }
    }

    fn make_bridge(&self, inner: &mut Inner) -> Result<Pools, NetworkError> {
        let pools = match inner.pools {
            Some(pools) => pools,
            None => Pools::choose(&self.pools, self.settings.v4, self.settings.v6)?,
        };
        inner.pools = Some(pools);
        if inner.bridged {
            return Ok(pools);
        }
        let name = &self.settings.bridge;
        let at = |doing| NetworkError::link(doing, name.clone());
        let mut netlink = Netlink::open().map_err(at("look for"))?;
        let index = match self.own_bridge(&mut netlink)? {
            Some(index) => index,
            None => {
                netlink.add_bridge(name, bridge_mac(name)).map_err(at("make the bridge"))?;
                let index = netlink.index(name).map_err(at("look for"))?.unwrap_or(0);
                netlink.label(index, &self.label).map_err(at("label"))?;
                index
            }
        };
        inside::prepare_ipv6(name);
        for address in pools.gateways().into_iter().filter(|gateway| inside::usable(gateway.addr())) {
            netlink.add_address(index, address).map_err(at("give an address to"))?;
        }
        for file in forwarding::switches(name).into_iter().filter(|file| Path::new(file).exists()) {
            forwarding::switch(&file, "1")?;
        }
        // For forwards from 127.0.0.1; the table lets nothing in to it.
        forwarding::switch(&format!("/proc/sys/net/ipv4/conf/{name}/route_localnet"), "1")?;
        self.enforce(inner)?;
        netlink.up(index, "").map_err(at("switch on"))?;
        forwarding::set(&self.before, &self.settings.uplinks)?;
        inner.bridged = true;
        Ok(pools)
    }

    fn enforce(&self, inner: &Inner) -> Result<(), NetworkError> {
        let Some(pools) = &inner.pools else { return Ok(()) };
        let scene = Scene { bridge: &self.settings.bridge, uplinks: &self.settings.uplinks, pools };
        firewall::apply(&firewall::rules(scene, &inner.live.values().collect::<Vec<_>>()))
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

fn live(zone: &Identity, plan: &NetworkPlan) -> Live {
    Live { zone: zone.name.to_string(), interfaces: plan.interfaces.clone() }
}

fn interface(zone: &Identity, i: usize, net: &Net, addresses: Vec<ipnet::IpNet>) -> Option<Interface> {
    let to = match net.mode {
        NetMode::Bridge => Connection::Bridge { allow: net.allow.clone(), forward: net.forward.clone() },
        NetMode::Macvlan => Connection::Macvlan { parent: net.parent.clone()?, gateway: net.gateway.clone() },
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

/// One that does not change with the bridge's ports.
fn bridge_mac(name: &str) -> Mac {
    let mut mac = [2, 0x7a, 0, 0, 0, 0];
    name.bytes().enumerate().for_each(|(i, byte)| mac[2 + i % 4] ^= byte.rotate_left(i as u32 / 4));
    Mac(mac)
}

fn index(name: &str) -> Result<Option<u32>, NetworkError> {
    let found = Netlink::open().and_then(|mut netlink| netlink.index(name));
    found.map_err(NetworkError::link("look for", name))
}

/// Waits until links are gone with their namespace; deletes those that stay.
fn vanish(names: &BTreeSet<String>) -> std::io::Result<()> {
    let mut netlink = Netlink::open()?;
    let deadline = Instant::now() + VANISHING;
    loop {
        let left: Vec<Link> =
            netlink.links()?.into_iter().filter(|link| names.contains(&link.name)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return left.iter().try_for_each(|link| netlink.delete(link.index));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn uuid_of(alias: &str) -> Option<Uuid> {
    alias.split('.').next()?.parse().ok()
}
