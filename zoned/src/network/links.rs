//! The interfaces of each zone: made, guarded, taken over, gone.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use uuid::Uuid;
use zoned_api::{config::MAX_INTERFACES, report::Leftover};

use super::{
    Network, NetworkError,
    firewall::Live,
    inside,
    netlink::{self, Link, Netlink},
};
use crate::{
    ebpf::{EbpfError, Guarded, Interfaces},
    metering::Metering,
    plan::{
        Identity,
        network::{Connection, Interface, NetworkPlan, link_name},
    },
};

/// How long the kernel may take to remove the links of a namespace that is gone; it takes 20 to 60 ms.
pub(super) const VANISHING: Duration = Duration::from_millis(300);

impl Network {
    /// Gives a zone its interfaces, once what it shares is [prepared](Network::prepare). Right also where some of it was
    /// done before.
    pub fn up(
        &self,
        zone: &Identity,
        plan: &NetworkPlan,
        first: u32,
        metering: &Metering,
    ) -> Result<(), NetworkError> {
        // Those of an earlier boot have the same addresses.
        self.settle(Some(zone.uuid), VANISHING)?;
        let namespace = inside::open(first, &zone.tag())?;
        let mut netlink = Netlink::open().map_err(NetworkError::link("open", "a netlink socket"))?;
        for interface in &plan.interfaces {
            self.connect(&mut netlink, zone, interface, &namespace, metering)?;
        }
        let pools = self.lock().pools;
        inside::configure(&namespace, &plan.interfaces, pools.as_ref())
    }

    fn connect(
        &self,
        netlink: &mut Netlink,
        zone: &Identity,
        interface: &Interface,
        inside: &OwnedFd,
        metering: &Metering,
    ) -> Result<(), NetworkError> {
        let link = &interface.link;
        let at = |doing| NetworkError::link(doing, link.clone());
        let peer = netlink::Peer { name: &interface.name, mac: interface.mac, inside };
        let done = |made: io::Result<()>| match made {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            made => made,
        };
        match &interface.to {
            Connection::Macvlan { parent, number, .. } => {
                let missing = || NetworkError::link("find", parent.clone())(io::ErrorKind::NotFound.into());
                let on = netlink.index(parent).map_err(at("look for"))?.ok_or_else(missing)?;
                done(netlink.add_macvlan(on, *number, peer))
                    .map_err(NetworkError::link("make a macvlan on", parent.clone()))
            }
            Connection::Bridge { .. } => {
                let bridge = netlink.index(&self.settings.bridge).map_err(at("look for"))?.unwrap_or(0);
                done(netlink.add_veth(link, bridge, peer)).map_err(at("make"))?;
                let number = netlink.index(link).map_err(at("find"))?.unwrap_or(0);
                netlink.isolate(number).map_err(at("isolate"))?;
                metering.guard(&zone.uuid, &guarded(interface, number))?;
                netlink.up(number, &zone.tag()).map_err(at("switch on"))?;
                // Whoever had an address before may still be believed to have it, for half a minute.
                let mut own = interface.addresses.iter().map(IpNet::addr).filter(|ip| inside::usable(*ip));
                own.try_for_each(|ip| netlink.set_neighbour(bridge, ip, interface.mac))
                    .map_err(at("say who has the addresses of"))
            }
        }
    }

    /// Counts what a zone sends and receives through interfaces that have no end on the host. `cgroup` is the folder of
    /// its boot.
    pub fn count(
        &self,
        zone: &Uuid,
        plan: &NetworkPlan,
        metering: &Metering,
        cgroup: &Path,
    ) -> Result<(), EbpfError> {
        if plan.shared {
            metering.count_sockets(zone, cgroup, Interfaces::All)?;
        }
        let mut numbers = plan.interfaces.iter().filter_map(|interface| match interface.to {
            Connection::Macvlan { number, .. } => Some(number),
            Connection::Bridge { .. } => None,
        });
        numbers.try_for_each(|number| metering.count_sockets(zone, cgroup, Interfaces::Number(number)))
    }

    /// Takes over the network of a zone that runs. Whatever cannot be renewed stays as the earlier daemon left it.
    pub fn adopt(
        &self,
        zone: &Identity,
        plan: &NetworkPlan,
        metering: &Metering,
        cgroup: &Path,
    ) -> Result<(), NetworkError> {
        if !plan.interfaces.is_empty() {
            self.lock().live.insert(zone.uuid, Live::of(zone, plan));
        }
        self.count(&zone.uuid, plan, metering, cgroup)?;
        if !plan.is_bridged() {
            return Ok(());
        }
        let mut netlink = Netlink::open().map_err(NetworkError::link("open", "a netlink socket"))?;
        for interface in plan.interfaces.iter().filter(|i| matches!(i.to, Connection::Bridge { .. })) {
            let link = &interface.link;
            // One that was on its way up has none yet.
            if let Some(number) = netlink.index(link).map_err(NetworkError::link("look for", link.clone()))? {
                metering.guard(&zone.uuid, &guarded(interface, number))?;
            }
        }
        Ok(())
    }

    /// Takes a zone's network away. Its links go with its namespace, which the kernel takes apart in its own time: nothing
    /// is to come from them any more (see [`Metering::release`]). Returns what could not be.
    pub fn down(&self, zone: &Identity) -> Vec<String> {
        let mut inner = self.lock();
        inner.vanishing.push((zone.clone(), Instant::now()));
        let was = inner.live.remove(&zone.uuid);
        if was.is_none() || !inner.bridged {
            return Vec::new();
        }
        self.enforce(&mut inner).err().map(|e| crate::fault::whole(&e)).into_iter().collect()
    }

    /// Waits until the links of boots that have ended are gone, of one zone or of all; deletes those that stay longer.
    pub(super) fn settle(&self, zone: Option<Uuid>, patience: Duration) -> Result<(), NetworkError> {
        let begun = Instant::now();
        loop {
            let waits = |ended: &Identity| zone.is_none_or(|zone| zone == ended.uuid);
            let mut ended = self.lock().vanishing.clone();
            ended.retain(|(ended, _)| waits(ended));
            if ended.is_empty() {
                return Ok(());
            }
            let at = |doing| NetworkError::link(doing, "a zone that has ended");
            let mut netlink = Netlink::open().map_err(at("look for the links of"))?;
            let links = netlink.links().map_err(at("look for the links of"))?;
            for (identity, since) in ended {
                let left: Vec<&Link> = links.iter().filter(|link| is_of(link, &identity)).collect();
                if !left.is_empty() && since.elapsed() < VANISHING {
                    continue;
                }
                left.iter()
                    .try_for_each(|link| netlink.delete(link.index))
                    .map_err(at("remove a link of"))?;
                self.lock().vanishing.retain(|(other, _)| other.tag() != identity.tag());
            }
            if begun.elapsed() >= patience {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Links that belong to no boot that lives. `zones` are all zones, `boots` the tags of boots.
    pub fn leftovers(&self, zones: &BTreeSet<Uuid>, boots: &BTreeSet<String>) -> Vec<Leftover> {
        if let Err(e) = self.settle(None, VANISHING + VANISHING) {
            tracing::warn!("{}", crate::fault::whole(&e));
        }
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
}

/// What an interface may send: from the addresses it was given, and from the one that the kernel makes of its hardware's.
fn guarded(interface: &Interface, number: u32) -> Guarded {
    let mut addresses: Vec<IpAddr> = interface.addresses.iter().map(IpNet::addr).collect();
    if addresses.iter().any(IpAddr::is_ipv6) {
        addresses.push(interface.mac.link_local().into());
    }
    Guarded { number, name: interface.link.clone(), mac: interface.mac.0, addresses }
}

/// Whether a link is one of a boot. A name is only a part of the tag; one that was not switched on yet bears none.
fn is_of(link: &Link, zone: &Identity) -> bool {
    let named = (0..MAX_INTERFACES).any(|place| link_name(zone, place) == link.name);
    named && (link.alias.is_empty() || link.alias == zone.tag())
}

fn uuid_of(alias: &str) -> Option<Uuid> {
    alias.split('.').next()?.parse().ok()
}
