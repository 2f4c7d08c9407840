//! Links, addresses and routes over rtnetlink(7), one request at a time.
//!
//! A socket belongs to the network namespace it was opened in, whoever uses it later: one that was opened in a zone's
//! configures the zone's end.

use std::{io, net::IpAddr, os::fd::OwnedFd};

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{
        InfoBridgePort, InfoData, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
    },
    neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use zoned_api::config::Mac;

/// Larger than any reply the kernel makes: dumps come in pieces of 32 KiB at most.
const LARGEST: usize = 64 * 1024;

/// A connection to the kernel of one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// One link, as far as anybody here cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Alias, free text.
    pub alias: String,
    /// Hardware address, where it has one of Ethernet's.
    pub mac: Option<Mac>,
    /// Number of the bridge it is a port of.
    pub master: Option<u32>,
}

impl Netlink {
    /// To the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let family = rustix::net::AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends one request, and returns what came before its end.
    fn ask(&mut self, what: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(what));
        message.finalize();
        let mut packet = vec![0; message.buffer_len()];
        message.serialize(&mut packet);
        send(&self.socket, &packet, SendFlags::empty())?;
        let mut found = Vec::new();
        loop {
            let mut buffer = vec![0; LARGEST];
            let (length, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty())?;
            buffer.truncate(length);
            if self.hear(&buffer, flags & NLM_F_DUMP == NLM_F_DUMP, &mut found)? {
                return Ok(found);
            }
        }
    }

    /// Takes one packet in; says whether the answer is complete.
    fn hear(&self, packet: &[u8], dump: bool, found: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
        let mut rest = packet;
        while rest.len() >= 16 {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
            let length = message.as_ref().map_or(0, |m| m.header.length as usize);
            if let Ok(message) = message
                && message.header.sequence_number == self.sequence
            {
                match message.payload {
                    NetlinkPayload::Error(e) => match e.code {
                        None => return Ok(true),
                        Some(code) => return Err(io::Error::from_raw_os_error(code.get().abs())),
                    },
                    NetlinkPayload::Done(_) => return Ok(true),
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    _ => {}
                }
            } else if length == 0 {
                // One that cannot be read: its length is all that is needed to pass it over.
                let own = rest.first_chunk::<4>().map_or(0, |l| u32::from_ne_bytes(*l) as usize);
                if !dump || own < 16 {
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                }
                rest = rest.get(own.next_multiple_of(4)..).unwrap_or_default();
                continue;
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(false)
    }

    fn change(&mut self, what: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(what, NLM_F_ACK | flags).map(drop)
    }

    /// All links.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let all = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        Ok(all.into_iter().filter_map(as_link).collect())
    }

    /// Number of the link of this name.
    pub fn index(&mut self, name: &str) -> io::Result<Option<u32>> {
        let what = RouteNetlinkMessage::GetLink(link(0, [LinkAttribute::IfName(name.into())]));
        match self.ask(what, NLM_F_ACK) {
            Ok(found) => Ok(found.into_iter().find_map(as_link).map(|l| l.index)),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Destinations of all routes of all tables, the host's own addresses among them, each with the number of the link it is
    /// reached by. Not those of everything.
    pub fn destinations(&mut self) -> io::Result<Vec<(IpNet, Option<u32>)>> {
        let all = self.ask(RouteNetlinkMessage::GetRoute(RouteMessage::default()), NLM_F_DUMP)?;
        let destination = |message| {
            let RouteNetlinkMessage::NewRoute(route) = message else { return None };
            let length = route.header.destination_prefix_length;
            let by = route.attributes.iter().find_map(|a| match a {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
            let to = route.attributes.iter().find_map(|a| match a {
                RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
                RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
                _ => None,
            });
            let to = IpNet::new(to?, length).ok().filter(|to| to.prefix_len() > 0);
            Some((to?, by))
        };
        Ok(all.into_iter().filter_map(destination).collect())
    }

    /// Makes a bridge.
    pub fn add_bridge(&mut self, name: &str, mac: Mac) -> io::Result<()> {
        let kind = LinkInfo::Kind(InfoKind::Bridge);
        self.add(link(0, [named(name), hardware(mac), LinkAttribute::LinkInfo(vec![kind])]))
    }

    /// Makes a pair: `name` here, as an isolated port of the bridge, and `peer` in the namespace `inside`.
    pub fn add_veth(&mut self, name: &str, bridge: u32, peer: Peer<'_>) -> io::Result<()> {
        let other = link(0, [named(peer.name), hardware(peer.mac), peer.namespace()]);
        let info =
            vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other)))];
        self.add(link(0, [named(name), LinkAttribute::Controller(bridge), LinkAttribute::LinkInfo(info)]))
    }

    /// Makes a macvlan in the namespace of `peer`, on a link that is here, with this number there.
    pub fn add_macvlan(&mut self, parent: u32, number: u32, peer: Peer<'_>) -> io::Result<()> {
        let mode = InfoMacVlan::Mode(MacVlanMode::Bridge);
        let info = vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(InfoData::MacVlan(vec![mode]))];
        let (on, how) = (LinkAttribute::Link(parent), LinkAttribute::LinkInfo(info));
        self.add(link(number, [named(peer.name), hardware(peer.mac), peer.namespace(), on, how]))
    }

    fn add(&mut self, what: LinkMessage) -> io::Result<()> {
        self.change(RouteNetlinkMessage::NewLink(what), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Keeps a port of a bridge from all other isolated ports of it.
    pub fn isolate(&mut self, index: u32) -> io::Result<()> {
        let data = InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)]);
        let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(data)];
        self.change(RouteNetlinkMessage::NewLink(link(index, [LinkAttribute::LinkInfo(info)])), 0)
    }

    /// Gives a link an alias.
    pub fn label(&mut self, index: u32, alias: &str) -> io::Result<()> {
        self.change(RouteNetlinkMessage::SetLink(link(index, [LinkAttribute::IfAlias(alias.into())])), 0)
    }

    /// Switches a link on, and gives it an alias if that is not empty.
    pub fn up(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let alias = (!alias.is_empty()).then(|| LinkAttribute::IfAlias(alias.into()));
        let mut message = link(index, alias);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Removes a link, if it is there still; the other end of a pair goes with it.
    pub fn delete(&mut self, index: u32) -> io::Result<()> {
        match self.change(RouteNetlinkMessage::DelLink(link(index, [])), 0) {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// Gives a link an address. Nobody else can have it, so no duplicate is looked for: it can be used at once.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.addr());
        message.header.prefix_len = address.prefix_len();
        message.header.scope = AddressScope::Universe;
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(address.addr()));
        message.attributes.push(AddressAttribute::Address(address.addr()));
        if address.addr().is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        there(self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL))
    }

    /// A route by way of a link: straight, or through a gateway.
    pub fn add_route(&mut self, to: IpNet, index: u32, gateway: Option<IpAddr>, table: u8) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(to.addr());
        message.header.destination_prefix_length = to.prefix_len();
        message.header.table = table;
        message.header.protocol = RouteProtocol::Static;
        let straight = if to.addr().is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
        message.header.scope = if gateway.is_some() { RouteScope::Universe } else { straight };
        message.header.kind = RouteType::Unicast;
        if to.prefix_len() > 0 {
            message.attributes.push(RouteAttribute::Destination(to.network().into()));
        }
        message.attributes.extend(gateway.map(|ip| RouteAttribute::Gateway(ip.into())));
        message.attributes.push(RouteAttribute::Oif(index));
        there(self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Says where on a link an address is found, whatever was known of it before.
    pub fn set_neighbour(&mut self, index: u32, ip: IpAddr, mac: Mac) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(ip);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Reachable;
        message.attributes.push(NeighbourAttribute::Destination(ip.into()));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Has what is sent from an address take the routes of a table (ip-rule(8)).
    pub fn add_rule(&mut self, from: IpAddr, table: u8) -> io::Result<()> {
        let mut message = RuleMessage::default();
        message.header.family = family(from);
        message.header.src_len = if from.is_ipv4() { 32 } else { 128 };
        message.header.table = table;
        message.header.action = RuleAction::ToTable;
        message.attributes.push(RuleAttribute::Source(from));
        there(self.change(RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL))
    }
}

/// The end of a link that is somewhere else.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Name there.
    pub name: &'a str,
    /// Hardware address.
    pub mac: Mac,
    /// The network namespace.
    pub inside: &'a OwnedFd,
}

impl Peer<'_> {
    fn namespace(&self) -> LinkAttribute {
        LinkAttribute::NetNsFd(std::os::fd::AsRawFd::as_raw_fd(self.inside))
    }
}

/// What is there already is as good as made.
fn there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

fn link(index: u32, attributes: impl IntoIterator<Item = LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.extend(attributes);
    message
}

fn named(name: &str) -> LinkAttribute {
    LinkAttribute::IfName(name.into())
}

fn hardware(mac: Mac) -> LinkAttribute {
    LinkAttribute::Address(mac.0.to_vec())
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn as_link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link { index: message.header.index, ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes).ok().map(Mac),
            LinkAttribute::Controller(master) => link.master = Some(master),
            _ => {}
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.index("lo").unwrap();
        assert_eq!(lo, Some(1));
        assert!(netlink.links().unwrap().iter().any(|link| link.name == "lo" && Some(link.index) == lo));
        assert_eq!(netlink.index("no-such-link").unwrap(), None);
        assert!(
            netlink.destinations().unwrap().iter().any(|(net, by)| net.addr().is_loopback() && *by == lo)
        );
    }
}
