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

/// How long the kernel may take to remove the links of a namespace that is gone; it takes 20 ms.
const VANISHING: Duration = Duration::from_millis(300);

impl Network {
    /// Gives a zone its interfaces. Right also where some of it was done before.
    pub fn up(
        &self,
        zone: &Identity,
        plan: &NetworkPlan,
        first: u32,
        metering: &Metering,
    ) -> Result<(), NetworkError> {
        self.prepare(zone, plan)?;
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
                netlink.up(number, &zone.tag()).map_err(at("switch on"))
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
        let numbers = plan.interfaces.iter().filter_map(|interface| match interface.to {
            Connection::Macvlan { number, .. } => Some(number),
            Connection::Bridge { .. } => None,
        });
        numbers
            .into_iter()
            .try_for_each(|number| metering.count_sockets(zone, cgroup, Interfaces::Number(number)))
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

    /// Takes a zone's network away, by its names alone. Returns what could not be.
    pub fn down(&self, zone: &Identity) -> Vec<String> {
        let mut problems = Vec::new();
        {
            let mut inner = self.lock();
            let was = inner.live.remove(&zone.uuid);
            if was.is_some()
                && inner.bridged
                && let Err(e) = self.enforce(&mut inner)
            {
                problems.push(crate::fault::whole(&e));
            }
        }
        if let Err(e) = vanish(zone) {
            problems.push(format!("network: links of {} cannot be removed: {e}", zone.tag()));
        }
        problems
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
}

/// What an interface may send: from the addresses it was given, and from the one that the kernel makes of its hardware's.
fn guarded(interface: &Interface, number: u32) -> Guarded {
    let mut addresses: Vec<IpAddr> = interface.addresses.iter().map(IpNet::addr).collect();
    if addresses.iter().any(IpAddr::is_ipv6) {
        addresses.push(interface.mac.link_local().into());
    }
    Guarded { number, name: interface.link.clone(), mac: interface.mac.0, addresses }
}

/// Waits until the links of a boot are gone with their namespace; deletes those that stay.
fn vanish(zone: &Identity) -> io::Result<()> {
    let names: BTreeSet<String> = (0..MAX_INTERFACES).map(|place| link_name(zone, place)).collect();
    let tag = zone.tag();
    // A name is only a part of the tag; one that was not switched on yet bears none.
    let ours = |link: &Link| names.contains(&link.name) && (link.alias.is_empty() || link.alias == tag);
    let mut netlink = Netlink::open()?;
    let deadline = Instant::now() + VANISHING;
    loop {
        let left: Vec<Link> = netlink.links()?.into_iter().filter(ours).collect();
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
