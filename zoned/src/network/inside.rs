//! The network namespace of a zone that is being booted, and what is done in it.

use std::{
    fs, io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    thread,
};

use ipnet::IpNet;
use netlink_packet_route::route::RouteHeader;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{error::NetworkError, netlink::Netlink, pool::Pools};
use crate::{
    plan::network::{Connection, Interface},
    sys::namespace::enter_one,
};

/// Table of the first interface, for those whose answers do not take the way out. The kernel's own begin at 253.
const FIRST_TABLE: u8 = 100;

/// The network namespace of a process, if that is the first process of this boot: its number may have come to mean
/// another one since it was told. A folder of /proc stays that of one process, and its group names the boot.
pub(super) fn open(pid: u32, tag: &str) -> Result<OwnedFd, NetworkError> {
    let gone = |e: rustix::io::Errno| match e {
        rustix::io::Errno::NOENT | rustix::io::Errno::SRCH => NetworkError::Gone,
        e => NetworkError::link("open", format!("the network namespace of process {pid}"))(e.into()),
    };
    let folder =
        openat(CWD, format!("/proc/{pid}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(gone)?;
    let groups = openat(&folder, "cgroup", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(gone)?;
    let groups = io::read_to_string(fs::File::from(groups)).map_err(|_| NetworkError::Gone)?;
    if !groups.contains(tag) {
        return Err(NetworkError::Gone);
    }
    openat(&folder, "ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(gone)
}

/// Gives the interfaces, which are there, their addresses and routes, and switches them on. In a thread of its own,
/// since the namespace is the thread's.
pub(super) fn configure(
    inside: &OwnedFd,
    interfaces: &[Interface],
    pools: Option<&Pools>,
) -> Result<(), NetworkError> {
    let work = || {
        enter_one(inside.as_fd(), libc::CLONE_NEWNET)
            .map_err(NetworkError::link("enter", "the zone's network"))?;
        let mut netlink = Netlink::open().map_err(NetworkError::link("open", "a netlink socket"))?;
        // The way out is the first interface's that has one, for each family.
        let mut ways_out = Vec::new();
        interfaces
            .iter()
            .zip(FIRST_TABLE..)
            .try_for_each(|(interface, table)| one(&mut netlink, interface, table, pools, &mut ways_out))
    };
    match thread::scope(|scope| scope.spawn(work).join()) {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Gives one interface what it has. What comes in by an interface is answered by it, whichever the way out is: there alone its
/// addresses are believed. So one that is not the way out has a table of its own for what is sent from its addresses.
fn one(
    netlink: &mut Netlink,
    interface: &Interface,
    table: u8,
    pools: Option<&Pools>,
    ways_out: &mut Vec<IpNet>,
) -> Result<(), NetworkError> {
    let name = &interface.name;
    let at = |doing| NetworkError::link(doing, name.clone());
    let index = netlink.index(name).map_err(at("find"))?;
    let index = index.ok_or_else(|| at("find")(io::Error::from(io::ErrorKind::NotFound)))?;
    prepare_ipv6(name);
    for address in interface.addresses.iter().filter(|address| usable(address.addr())) {
        // On the bridge nobody is reached but through the host: the zone's network is its own address.
        let given = match interface.to {
            Connection::Bridge { .. } => IpNet::from(address.addr()),
            Connection::Macvlan { .. } => *address,
        };
        netlink.add_address(index, given).map_err(at("give an address to"))?;
    }
    netlink.up(index, "").map_err(at("switch on"))?;
    let gateways: Vec<IpAddr> = match &interface.to {
        Connection::Macvlan { gateway, .. } => gateway.clone(),
        Connection::Bridge { .. } => {
            let has = |ip: IpAddr| interface.addresses.iter().any(|a| a.addr().is_ipv4() == ip.is_ipv4());
            let all = pools.into_iter().flat_map(|pools| pools.gateways().map(|net| net.addr()));
            all.filter(|ip| has(*ip) && usable(*ip)).collect()
        }
    };
    for gateway in gateways {
        let everywhere = IpNet::new_assert(if gateway.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
        let table = if ways_out.contains(&everywhere) { table } else { RouteHeader::RT_TABLE_MAIN };
        if matches!(interface.to, Connection::Bridge { .. }) {
            netlink.add_route(gateway.into(), index, None, table).map_err(at("add a route to"))?;
        } else if table != RouteHeader::RT_TABLE_MAIN {
            let near = interface.addresses.iter().filter(|net| net.contains(&gateway));
            near.map(|net| net.trunc())
                .try_for_each(|net| netlink.add_route(net, index, None, table))
                .map_err(at("add a route to"))?;
        }
        netlink.add_route(everywhere, index, Some(gateway), table).map_err(at("add a default route to"))?;
        if table == RouteHeader::RT_TABLE_MAIN {
            ways_out.push(everywhere);
            continue;
        }
        let own = interface.addresses.iter().map(IpNet::addr);
        own.filter(|ip| ip.is_ipv4() == gateway.is_ipv4())
            .try_for_each(|ip| netlink.add_rule(ip, table))
            .map_err(at("add a rule for"))?;
    }
    Ok(())
}

/// Whether the host's kernel knows the family: it may have been started without IPv6.
pub(super) fn usable(ip: IpAddr) -> bool {
    ip.is_ipv4() || Path::new("/proc/sys/net/ipv6").exists()
}

/// Settings of a link of ours in this thread's namespace: it has IPv6 whatever the host's default is, and nobody on it is
/// believed to be a router.
pub(super) fn prepare_ipv6(link: &str) {
    for (setting, value) in [("disable_ipv6", "0"), ("accept_ra", "0")] {
        // Absent where the kernel has no IPv6.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{link}/{setting}"), value);
    }
}
