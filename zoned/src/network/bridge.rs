//! What all zones share: the bridge, its addresses, the firewall, forwarding.
//!
//! Made with the first zone that needs it, found by the next daemon, and looked after: a firewall that somebody else
//! emptied is put into force again.

use std::{path::Path, sync::Arc, time::Duration};

use ipnet::IpNet;
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use zoned_api::config::Mac;

use super::{
    Inner, Network, NetworkError, firewall,
    firewall::{Live, Scene},
    forwarding, inside,
    links::VANISHING,
    netlink::Netlink,
    nftables, own, pool,
    pool::Pools,
};
use crate::{
    host::Host,
    plan::{
        Identity,
        network::{Connection, NetworkPlan},
    },
};

/// How often it is looked whether the firewall is still there.
const EVERY: Duration = Duration::from_secs(1);

/// Rules that were put into force, and the table they are in.
#[derive(Debug)]
pub(super) struct InForce {
    text: String,
    /// The kernel gives each table a number that it never gives again; none if it did not tell.
    table: Option<u64>,
}

impl Network {
    /// Makes what all zones share, if it is not there, and lets through to and from a zone what may pass. Before the zone
    /// has an interface: no packet passes unfiltered.
    pub fn prepare(&self, zone: &Identity, plan: &NetworkPlan) -> Result<(), NetworkError> {
        if plan.interfaces.is_empty() {
            return Ok(());
        }
        if let Some(forward) = plan.forwards().find(|forward| own::serves(forward)) {
            return Err(NetworkError::Served { forward: forward.to_string() });
        }
        let mut inner = self.lock();
        inner.live.insert(zone.uuid, Live::of(zone, plan));
        if !plan.is_bridged() {
            return Ok(());
        }
        self.make_bridge(&mut inner)?;
        self.enforce(&mut inner)
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
            self.enforce(&mut inner)?;
        }
        Ok(())
    }

    /// Sees to it that links of ended boots go, and puts the firewall into force again if somebody took it away, as one
    /// does who empties the host's whole rule set, or if it could not be put into force before.
    fn mend(&self) -> Result<(), NetworkError> {
        self.settle(None, Duration::ZERO)?;
        let mut inner = self.lock();
        if !inner.bridged || inner.in_force.as_ref().is_some_and(|rules| self.stands(rules)) {
            return Ok(());
        }
        if inner.in_force.is_some() {
            tracing::warn!("the zones' firewall was taken away by somebody; it is put into force again");
        }
        self.enforce(&mut inner)
    }

    /// Takes away what was made for all zones, when none is left.
    pub fn close(&self) {
        if let Err(e) = self.settle(None, VANISHING + VANISHING) {
            tracing::warn!("{}", crate::fault::whole(&e));
        }
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

    /// What keeps zones from a network as the daemon was told to make it, for people.
    pub fn concerns(&self) -> Vec<String> {
        let there = |link: &&String| Path::new("/sys/class/net").join(link).exists();
        let missing = self.settings.uplinks.iter().filter(|link| !there(link));
        let mut all: Vec<String> = missing
            .map(|link| {
                format!("--uplink {link}: the host has no such interface; start zoned again when it has")
            })
            .collect();
        let asked = [self.settings.v4.map(IpNet::from), self.settings.v6.map(IpNet::from)];
        let nets = match self.lock().pools {
            Some(pools) => pools.nets().to_vec(),
            None => asked.into_iter().flatten().collect(),
        };
        let untaken = || {
            let mut netlink = Netlink::open().map_err(NetworkError::link("open", "a netlink socket"))?;
            let bridge = self.own_bridge(&mut netlink)?;
            untaken(&mut netlink, &nets, bridge)
        };
        all.extend(untaken().err().map(|e| crate::fault::whole(&e)));
        all
    }

    /// Number of the bridge, if it is there; an error if it is somebody else's.
    fn own_bridge(&self, netlink: &mut Netlink) -> Result<Option<u32>, NetworkError> {
        let name = &self.settings.bridge;
        let links = netlink.links().map_err(NetworkError::link("look for", name.clone()))?;
        match links.into_iter().find(|link| link.name == *name) {
            Some(link) if link.alias == self.label => Ok(Some(link.index)),
            // Whoever made it was killed before it could label it.
            Some(link) if link.alias.is_empty() && link.mac == Some(self.bridge_mac()) => {
                Ok(Some(link.index))
            }
            Some(_) => Err(NetworkError::Foreign(name.clone())),
            None => Ok(None),
        }
    }

    fn make_bridge(&self, inner: &mut Inner) -> Result<(), NetworkError> {
        let pools = match inner.pools {
            Some(pools) => pools,
            None => Pools::choose(&self.pools, self.settings.v4, self.settings.v6)?,
        };
        inner.pools = Some(pools);
        if inner.bridged {
            return Ok(());
        }
        let name = &self.settings.bridge;
        let at = |doing| NetworkError::link(doing, name.clone());
        let mut netlink = Netlink::open().map_err(at("look for"))?;
        let index = match self.own_bridge(&mut netlink)? {
            Some(index) => index,
            None => {
                untaken(&mut netlink, &pools.nets(), None)?;
                netlink.add_bridge(name, self.bridge_mac()).map_err(at("make the bridge"))?;
                netlink.index(name).map_err(at("look for"))?.unwrap_or(0)
            }
        };
        netlink.label(index, &self.label).map_err(at("label"))?;
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
        Ok(())
    }

    /// Puts the rules into force that follow from who lives, unless they are.
    pub(super) fn enforce(&self, inner: &mut Inner) -> Result<(), NetworkError> {
        let Some(pools) = &inner.pools else { return Ok(()) };
        let scene = Scene { bridge: &self.settings.bridge, uplinks: &self.settings.uplinks, pools };
        let text = firewall::rules(scene, &inner.live.values().collect::<Vec<_>>());
        if inner.in_force.as_ref().is_some_and(|rules| rules.text == text && self.stands(rules)) {
            return Ok(());
        }
        inner.in_force = None;
        firewall::apply(&text)?;
        inner.in_force = Some(InForce { text, table: self.table() });
        Ok(())
    }

    /// The bridge's hardware address: of this daemon's state folder, and the same whatever its ports are.
    fn bridge_mac(&self) -> Mac {
        let digest = Sha256::new().chain_update(&self.label).chain_update(&self.settings.bridge).finalize();
        let mut mac = [2, 0x7a, 0, 0, 0, 0];
        mac.iter_mut().skip(2).zip(digest).for_each(|(byte, random)| *byte = random);
        Mac(mac)
    }

    /// Whether the table is still the one that was made.
    fn stands(&self, rules: &InForce) -> bool {
        self.table() == rules.table
    }

    fn table(&self) -> Option<u64> {
        nftables::handle(&firewall::table(&self.settings.bridge)).ok().flatten()
    }
}

/// Refuses networks that the host reaches otherwise.
fn untaken(netlink: &mut Netlink, nets: &[IpNet], bridge: Option<u32>) -> Result<(), NetworkError> {
    let routes = netlink.destinations().map_err(NetworkError::link("look at", "the host's routes"))?;
    match pool::taken(nets, &routes, bridge) {
        Some((net, route)) => Err(NetworkError::Taken { net, route }),
        None => Ok(()),
    }
}

/// Looks after the firewall for as long as the daemon lives.
pub async fn watch(host: Arc<Host>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What stands in the way for long is said once.
    let mut said = String::new();
    loop {
        ticks.tick().await;
        let host = host.clone();
        let mended = tokio::task::spawn_blocking(move || host.network.mend()).await;
        let trouble = match mended {
            Ok(Err(e)) => crate::fault::whole(&e),
            _ => String::new(),
        };
        if !trouble.is_empty() && trouble != said {
            tracing::error!("{trouble}");
        }
        said = trouble;
    }
}
