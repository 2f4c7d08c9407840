//! Frames that a zone may send, and frames that it may not. For tests: of the judgement alone, and of the programs in the
//! kernel, which include this file.

use std::vec::Vec;

/// An interface and its neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    pub(crate) mac: [u8; 6],
    pub(crate) v4: [u8; 4],
    pub(crate) v6: [u8; 16],
    /// The host's, who is reached from everywhere.
    pub(crate) gateway_mac: [u8; 6],
    pub(crate) gateway_v4: [u8; 4],
    pub(crate) gateway_v6: [u8; 16],
    /// Somebody else's.
    pub(crate) other_mac: [u8; 6],
    pub(crate) other_v4: [u8; 4],
    pub(crate) other_v6: [u8; 16],
}

/// A frame with its name, and with the reason to drop it as `zonectl stat` names it.
pub(crate) type Forged = (&'static str, &'static str, Vec<u8>);

const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const BROADCAST: [u8; 6] = [0xff; 6];

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to, &from, kind.to_be_bytes().as_slice(), payload].concat()
}

/// The checksum of RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

fn arp(operation: u8, mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [head.as_slice(), &mac, &sender, &[0; 6], &target].concat()
}

fn ipv4_with(options: &[u8], protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = (20 + options.len() + payload.len()) as u16;
    let mut head = [0x45 + (options.len() / 4) as u8, 0].to_vec();
    head.extend(length.to_be_bytes());
    head.extend([0, 7, 0, 0, 64, protocol, 0, 0]);
    head.extend([from, to].concat());
    head.extend(options);
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum);
    [head.as_slice(), payload].concat()
}

fn ipv6(next: u8, from: [u8; 16], to: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let mut head = [0x60, 0, 0, 0].to_vec();
    head.extend((payload.len() as u16).to_be_bytes());
    head.extend([next, 255]);
    [head.as_slice(), &from, &to, payload].concat()
}

fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let (from, to, length) = (from.to_be_bytes(), to.to_be_bytes(), (8 + data.len() as u16).to_be_bytes());
    [from.as_slice(), &to, &length, &[0, 0], data].concat()
}

/// An ICMPv6 message with its checksum, which covers the addresses (RFC 8200, 8.1).
fn icmpv6(from: [u8; 16], to: [u8; 16], message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    let sum = checksum(&[from.as_slice(), &to, &length, &[0, 0, 0, 58], message].concat());
    let mut message = message.to_vec();
    message[2..4].copy_from_slice(&sum);
    message
}

fn discovery(kind: u8, target: [u8; 16], option: &[u8]) -> Vec<u8> {
    [[kind, 0, 0, 0, 0x20, 0, 0, 0].as_slice(), &target, option].concat()
}

impl Station {
    fn out(&self, kind: u16, payload: &[u8]) -> Vec<u8> {
        ethernet(self.gateway_mac, self.mac, kind, payload)
    }

    fn v4(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.out(0x0800, &ipv4_with(&[], protocol, self.v4, self.gateway_v4, payload))
    }

    fn v6(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        self.out(0x86dd, &ipv6(next, self.v6, self.gateway_v6, payload))
    }

    fn neighbour(&self, from: [u8; 16], message: &[u8]) -> Vec<u8> {
        self.out(0x86dd, &ipv6(58, from, ALL_NODES, &icmpv6(from, ALL_NODES, message)))
    }

    /// What it may send.
    pub(crate) fn honest(&self) -> Vec<(&'static str, Vec<u8>)> {
        let echo = |kind: u8| [kind, 0, 0, 0, 0, 1, 0, 1].to_vec();
        let mut ping = echo(8);
        let sum = checksum(&ping);
        ping[2..4].copy_from_slice(&sum);
        let own = |kind| [[kind, 1].as_slice(), &self.mac].concat();
        let hop = [17, 0, 5, 2, 0, 0, 1, 0];
        std::vec![
            (
                "ARP request",
                ethernet(BROADCAST, self.mac, 0x0806, &arp(1, self.mac, self.v4, self.gateway_v4))
            ),
            ("ARP reply", self.out(0x0806, &arp(2, self.mac, self.v4, self.gateway_v4))),
            ("ARP probe for its own", self.out(0x0806, &arp(1, self.mac, [0; 4], self.v4))),
            ("UDP", self.v4(17, &udp(4000, 9, b"honest"))),
            ("ping", self.v4(1, &ping)),
            (
                "UDP with a time stamp option",
                self.out(
                    0x0800,
                    &ipv4_with(&[1, 68, 4, 5, 0, 0, 0, 0], 17, self.v4, self.gateway_v4, &udp(1, 9, b""))
                ),
            ),
            ("UDP over IPv6", self.v6(17, &udp(4000, 9, b"honest"))),
            ("ping over IPv6", self.v6(58, &icmpv6(self.v6, self.gateway_v6, &echo(128)))),
            ("UDP behind options for each hop", self.v6(0, &[hop.as_slice(), &udp(1, 9, b"")].concat())),
            ("solicitation", self.neighbour(self.v6, &discovery(135, self.gateway_v6, &own(1)))),
            ("solicitation of its own, unnamed", self.neighbour([0; 16], &discovery(135, self.v6, &[]))),
            ("advertisement", self.neighbour(self.v6, &discovery(136, self.v6, &own(2)))),
            ("report of groups, unnamed", self.neighbour([0; 16], &[143, 0, 0, 0, 0, 0, 0, 0])),
        ]
    }

    /// What it may not.
    pub(crate) fn forged(&self) -> Vec<Forged> {
        let foreign = |kind| [[kind, 1].as_slice(), &self.other_mac].concat();
        let mut stolen = self.v4(17, &udp(4000, 9, b"x"));
        stolen[6..12].copy_from_slice(&self.other_mac);
        let tagged = |tag: u16, inner: &[u8]| {
            let tci = [0, 5, 8, 0];
            self.out(tag, &[tci.as_slice(), inner].concat())
        };
        let (own_v4, own_v6) = (self.v4(17, &udp(4000, 9, b"x")), self.v6(17, &udp(4000, 9, b"x")));
        let plain = own_v4[14..].to_vec();
        let from_v4 =
            |from| self.out(0x0800, &ipv4_with(&[], 17, from, self.gateway_v4, &udp(4000, 9, b"x")));
        let from_v6 = |from| self.out(0x86dd, &ipv6(17, from, self.gateway_v6, &udp(4000, 9, b"x")));
        let options = |options: &[u8]| {
            self.out(0x0800, &ipv4_with(options, 17, self.v4, self.gateway_v4, &udp(4000, 9, b"x")))
        };
        let [a, b, c, d] = self.other_v4;
        let router = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let advert = icmpv6(self.v6, ALL_NODES, &router);
        let chain = |first: u8, headers: &[u8], rest: &[u8]| {
            self.out(0x86dd, &ipv6(first, self.v6, ALL_NODES, &[headers, rest].concat()))
        };
        let endless: Vec<u8> = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
        let wrong_version = |mut frame: Vec<u8>| {
            frame[14] = 0x15;
            frame
        };
        std::vec![
            ("foreign hardware address", "mac", stolen),
            ("VLAN tag", "ethertype", tagged(0x8100, &plain)),
            (
                "two VLAN tags",
                "ethertype",
                tagged(0x88a8, &[[0x81, 0, 0, 7, 8, 0].as_slice(), &plain].concat())
            ),
            ("spanning tree", "ethertype", {
                let to = [1, 0x80, 0xc2, 0, 0, 0];
                ethernet(to, self.mac, 38, &[[0x42, 0x42, 3].as_slice(), &[0; 35]].concat())
            }),
            ("LLDP", "ethertype", ethernet([1, 0x80, 0xc2, 0, 0, 0xe], self.mac, 0x88cc, &[0; 46])),
            ("PPPoE discovery", "ethertype", ethernet(BROADCAST, self.mac, 0x8863, &[0x11, 9, 0, 0, 0, 0])),
            ("ARP for another", "arp", self.out(0x0806, &arp(2, self.mac, self.other_v4, self.gateway_v4))),
            ("ARP for the host", "arp", self.out(0x0806, &arp(2, self.mac, self.gateway_v4, self.v4))),
            (
                "ARP with another's hardware",
                "arp",
                self.out(0x0806, &arp(2, self.other_mac, self.v4, self.gateway_v4))
            ),
            ("ARP probe for another's", "arp", self.out(0x0806, &arp(1, self.mac, [0; 4], self.other_v4))),
            (
                "ARP of another network",
                "arp",
                self.out(0x0806, &[[0, 6].as_slice(), &arp(2, self.mac, self.v4, self.v4)[2..]].concat())
            ),
            ("another's IPv4 address", "address", from_v4(self.other_v4)),
            ("the host's IPv4 address", "address", from_v4(self.gateway_v4)),
            ("no IPv4 address", "address", from_v4([0; 4])),
            ("the loopback's address", "address", from_v4([127, 0, 0, 1])),
            ("another's IPv6 address", "address", from_v6(self.other_v6)),
            ("the host's IPv6 address", "address", from_v6(self.gateway_v6)),
            ("no IPv6 address", "address", from_v6([0; 16])),
            ("an IPv4 address in IPv6", "address", from_v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])),
            (
                "advertisement of another's",
                "neighbour",
                self.neighbour(self.v6, &discovery(136, self.other_v6, &[]))
            ),
            (
                "advertisement with another's hardware",
                "neighbour",
                self.neighbour(self.v6, &discovery(136, self.v6, &foreign(2)))
            ),
            (
                "solicitation with another's hardware",
                "neighbour",
                self.neighbour(self.v6, &discovery(135, self.gateway_v6, &foreign(1)))
            ),
            (
                "unnamed solicitation of another's",
                "neighbour",
                self.neighbour([0; 16], &discovery(135, self.other_v6, &[]))
            ),
            ("router advertisement", "router", self.neighbour(self.v6, &router)),
            ("router advertisement behind options", "router", chain(60, &[58, 0, 1, 4, 0, 0, 0, 0], &advert)),
            (
                "router advertisement behind authentication",
                "router",
                chain(51, &[58, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &advert)
            ),
            (
                "router advertisement in fragments",
                "malformed",
                chain(44, &[58, 0, 0, 1, 0, 0, 0, 9], &advert)
            ),
            (
                "query for IPv6 groups",
                "router",
                self.neighbour(
                    self.v6,
                    &[130, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
                )
            ),
            ("ICMP router advertisement", "router", self.v4(1, &[9, 0, 0xf5, 0xfd, 1, 2, 0, 0])),
            ("query for IPv4 groups", "router", self.v4(2, &[0x11, 0, 0xee, 0xff, 0, 0, 0, 0])),
            ("ICMP redirect", "redirect", self.v4(1, &[5, 1, 0, 0, a, b, c, d])),
            (
                "ICMPv6 redirect",
                "redirect",
                self.neighbour(self.v6, &discovery(137, self.other_v6, &self.v6))
            ),
            ("answer of a DHCP server", "dhcp", self.v4(17, &udp(67, 68, &[2; 240]))),
            ("answer of a DHCPv6 server", "dhcp", self.v6(17, &udp(547, 546, &[2; 24]))),
            (
                "a DHCPv6 server in fragments",
                "dhcp",
                chain(44, &[17, 0, 0, 1, 0, 0, 0, 9], &udp(547, 546, &[2; 24]))
            ),
            ("loose source route", "route", options(&[131, 7, 4, a, b, c, d, 0])),
            ("strict source route behind others", "route", options(&[1, 1, 68, 4, 5, 0, 137, 3, 4, 0, 0, 0])),
            (
                "routing header",
                "route",
                self.v6(
                    43,
                    &[[17, 2, 0, 1, 0, 0, 0, 0].as_slice(), &self.other_v6, &udp(1, 9, b"")].concat()
                )
            ),
            ("headers without end", "malformed", self.v6(60, &endless)),
            ("a frame that is cut off", "malformed", own_v6[..40].to_vec()),
            ("an IPv4 header that is cut off", "malformed", own_v4[..30].to_vec()),
            ("another version of IP", "malformed", wrong_version(own_v4.clone())),
        ]
    }
}
