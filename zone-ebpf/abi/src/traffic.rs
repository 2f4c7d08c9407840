//! What a zone sends and receives, and which interfaces it does so through.

/// Interfaces that are guarded at once: eight a zone (`MAX_INTERFACES` of the API).
pub const MAX_LINKS: u32 = 8192;

/// Addresses of all guarded interfaces together.
pub const MAX_ADDRESSES: u32 = 65_536;

/// An interface of a zone, by the number of its host's end: who sends there, and from which hardware address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The zone's slot.
    pub slot: u32,
    /// [`crate::Slot::generation`].
    pub generation: u32,
    /// The only hardware address it may send from.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: u16,
}

/// An address that may be sent from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressKey {
    /// Number of the host's end.
    pub link: u32,
    /// IPv6, or IPv4 as [`mapped`] has it.
    pub ip: [u8; 16],
}

/// An IPv4 address as IPv6 has it (`::ffff:a.b.c.d`, RFC 4291, 2.5.5.2).
#[inline(always)]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Interfaces without a host's end whose traffic is counted at the zone's sockets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketKey {
    /// The zone's slot.
    pub slot: u32,
    /// [`crate::Slot::generation`].
    pub generation: u32,
    /// Number of the interface in the zone's network namespace.
    pub link: u32,
}

impl SocketKey {
    /// In place of a number: every interface but the loopback.
    pub const ANY_LINK: u32 = 0;
    /// Number of the loopback in every network namespace.
    pub const LOOPBACK: u32 = 1;
}

/// Packets and their bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets as the kernel hands them on: several segments in one where it joins them.
    pub packets: u64,
    /// Bytes, with the Ethernet header where they pass a host's end, from the IP header on where sockets are counted.
    pub bytes: u64,
}

/// What is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, ICMPv6.
    Icmp,
    /// ARP.
    Arp,
    /// All else, and what was refused.
    Other,
}

impl Protocol {
    /// Every one, with the name of its field.
    pub const ALL: [(Protocol, &'static str); 5] = [
        (Protocol::Tcp, "tcp"),
        (Protocol::Udp, "udp"),
        (Protocol::Icmp, "icmp"),
        (Protocol::Arp, "arp"),
        (Protocol::Other, "other"),
    ];
}

/// Traffic by protocol.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByProtocol {
    /// [`Protocol::Tcp`].
    pub tcp: Traffic,
    /// [`Protocol::Udp`].
    pub udp: Traffic,
    /// [`Protocol::Icmp`].
    pub icmp: Traffic,
    /// [`Protocol::Arp`].
    pub arp: Traffic,
    /// [`Protocol::Other`].
    pub other: Traffic,
}

impl ByProtocol {
    const NONE: Self = {
        let traffic = Traffic { packets: 0, bytes: 0 };
        ByProtocol { tcp: traffic, udp: traffic, icmp: traffic, arp: traffic, other: traffic }
    };

    /// Of one protocol.
    #[inline(always)]
    pub const fn of(&mut self, protocol: Protocol) -> &mut Traffic {
        match protocol {
            Protocol::Tcp => &mut self.tcp,
            Protocol::Udp => &mut self.udp,
            Protocol::Icmp => &mut self.icmp,
            Protocol::Arp => &mut self.arp,
            Protocol::Other => &mut self.other,
        }
    }
}

/// Why a frame of a zone's goes no further than the host's end of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Sent from a hardware address that is not the interface's.
    Mac,
    /// Neither IPv4 nor IPv6 nor ARP: tagged for a VLAN, a bridge's or a switch's own protocols, …
    Ethertype,
    /// An ARP message that speaks of an address, or from a hardware address, that is not the interface's.
    Arp,
    /// Sent from an IP address that is not the interface's.
    Address,
    /// A neighbour discovery message that says so of an address that is not the interface's.
    Neighbour,
    /// What only a router sends: router advertisements, queries for multicast groups.
    Router,
    /// A redirect: packets for elsewhere would come to it.
    Redirect,
    /// An answer of a DHCP server's.
    Dhcp,
    /// A way through the network that the sender has chosen (source routing).
    Route,
    /// Cut off, or with more headers than anybody needs.
    Malformed,
}

impl Reason {
    /// Every one, with the name of its field.
    pub const ALL: [(Reason, &'static str); 10] = [
        (Reason::Mac, "mac"),
        (Reason::Ethertype, "ethertype"),
        (Reason::Arp, "arp"),
        (Reason::Address, "address"),
        (Reason::Neighbour, "neighbour"),
        (Reason::Router, "router"),
        (Reason::Redirect, "redirect"),
        (Reason::Dhcp, "dhcp"),
        (Reason::Route, "route"),
        (Reason::Malformed, "malformed"),
    ];
}

/// Packets that were dropped, by [`Reason`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// [`Reason::Mac`].
    pub mac: u64,
    /// [`Reason::Ethertype`].
    pub ethertype: u64,
    /// [`Reason::Arp`].
    pub arp: u64,
    /// [`Reason::Address`].
    pub address: u64,
    /// [`Reason::Neighbour`].
    pub neighbour: u64,
    /// [`Reason::Router`].
    pub router: u64,
    /// [`Reason::Redirect`].
    pub redirect: u64,
    /// [`Reason::Dhcp`].
    pub dhcp: u64,
    /// [`Reason::Route`].
    pub route: u64,
    /// [`Reason::Malformed`].
    pub malformed: u64,
}

impl Dropped {
    const NONE: Self = Dropped {
        mac: 0,
        ethertype: 0,
        arp: 0,
        address: 0,
        neighbour: 0,
        router: 0,
        redirect: 0,
        dhcp: 0,
        route: 0,
        malformed: 0,
    };

    /// For one reason.
    #[inline(always)]
    pub const fn of(&mut self, reason: Reason) -> &mut u64 {
        match reason {
            Reason::Mac => &mut self.mac,
            Reason::Ethertype => &mut self.ethertype,
            Reason::Arp => &mut self.arp,
            Reason::Address => &mut self.address,
            Reason::Neighbour => &mut self.neighbour,
            Reason::Router => &mut self.router,
            Reason::Redirect => &mut self.redirect,
            Reason::Dhcp => &mut self.dhcp,
            Reason::Route => &mut self.route,
            Reason::Malformed => &mut self.malformed,
        }
    }
}

/// What one zone has sent and received, as one CPU saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetFigures {
    /// Whose: as [`crate::Figures::generation`].
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
    /// What was handed to the zone.
    pub received: ByProtocol,
    /// What came from the zone, dropped or not.
    pub sent: ByProtocol,
    /// What of that was dropped.
    pub dropped: Dropped,
}

impl NetFigures {
    /// Figures that begin now.
    pub const fn begin(generation: u32) -> Self {
        let (received, sent) = (ByProtocol::NONE, ByProtocol::NONE);
        NetFigures { generation, reserved: 0, received, sent, dropped: Dropped::NONE }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, mut other: Self) {
        for (protocol, _) in Protocol::ALL {
            for (sum, more) in [(&mut self.received, &mut other.received), (&mut self.sent, &mut other.sent)]
            {
                let (sum, more) = (sum.of(protocol), more.of(protocol));
                sum.packets += more.packets;
                sum.bytes += more.bytes;
            }
        }
        for (reason, _) in Reason::ALL {
            *self.dropped.of(reason) += *other.dropped.of(reason);
        }
    }
}

// SAFETY: repr(C), integers only, no padding; every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Link {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for AddressKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for SocketKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for NetFigures {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_and_reason_has_a_field_of_its_own() {
        let mut one = NetFigures::begin(7);
        for (i, (protocol, _)) in Protocol::ALL.into_iter().enumerate() {
            *one.received.of(protocol) = Traffic { packets: 1 << i, bytes: 100 << i };
            one.sent.of(protocol).bytes = 1000 << i;
        }
        for (i, (reason, _)) in Reason::ALL.into_iter().enumerate() {
            *one.dropped.of(reason) = 1 << i;
        }
        let mut sum = NetFigures::begin(7);
        sum.add(one);
        assert_eq!(sum, one);
        sum.add(one);
        assert_eq!((sum.received.other.packets, sum.sent.tcp.bytes, sum.dropped.malformed), (32, 2000, 1024));
    }
}
