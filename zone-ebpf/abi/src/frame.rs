//! What a frame is, and whether a zone may send it.
//!
//! Pure, so that it is tested without a kernel; the programs run it where a zone's link ends on the host. All that is
//! read is the zone's choice: whatever cannot be followed to its end is refused. Numbers of protocols and types are
//! IANA's; what is said of the kernel holds from Linux 5.15 on.

use crate::{
    mapped,
    traffic::{Protocol, Reason},
};

/// Length of an Ethernet header.
const ETHERNET: u32 = 14;

/// Most IPv6 extension headers that are followed. RFC 8200 wants each once, destination options twice: five.
const EXTENSIONS: u32 = 8;

/// Most options of a neighbour discovery message that are followed; the kernel sends one.
const OPTIONS: u32 = 8;

/// Most bytes of options in an IPv4 header.
const IPV4_OPTIONS: u32 = 40;

/// Bytes of a packet.
pub trait Frame {
    /// `N` bytes from `at` on; none if it ends before.
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]>;
}

/// Whose a frame should be.
pub trait Owner {
    /// Its hardware address.
    fn mac(&self) -> [u8; 6];
    /// Whether it has that address, an IPv4 one being [`mapped`].
    fn has(&self, ip: [u8; 16]) -> bool;
}

/// What kind a whole frame is of, believing it.
#[inline(always)]
pub fn classify(frame: &impl Frame) -> Protocol {
    match frame.load(12).map(u16::from_be_bytes) {
        Some(0x0800 | 0x86dd) => classify_packet(frame, ETHERNET),
        Some(0x0806) => Protocol::Arp,
        _ => Protocol::Other,
    }
}

/// What kind an IP packet is of that begins at `at`.
#[inline(always)]
pub fn classify_packet(frame: &impl Frame, at: u32) -> Protocol {
    match frame.load::<10>(at) {
        Some(head) if head[0] >> 4 == 4 => transport(head[9]),
        Some(head) if head[0] >> 4 == 6 => match upper(frame, at + 40, head[6]) {
            Ok(upper) => transport(upper.number),
            Err(_) => Protocol::Other,
        },
        _ => Protocol::Other,
    }
}

/// Whether its owner may send a frame, and what it is.
#[inline(always)]
pub fn judge(frame: &impl Frame, owner: &impl Owner) -> Result<Protocol, Reason> {
    let ethernet = load::<14>(frame, 0)?;
    let [_, _, _, _, _, _, a, b, c, d, e, f, kind @ ..] = ethernet;
    if [a, b, c, d, e, f] != owner.mac() {
        return Err(Reason::Mac);
    }
    match u16::from_be_bytes(kind) {
        0x0800 => ipv4(frame, owner),
        0x0806 => arp(frame, owner),
        0x86dd => ipv6(frame, owner),
        _ => Err(Reason::Ethertype),
    }
}

#[inline(always)]
fn load<const N: usize>(frame: &impl Frame, at: u32) -> Result<[u8; N], Reason> {
    frame.load(at).ok_or(Reason::Malformed)
}

const fn transport(number: u8) -> Protocol {
    match number {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        1 | 58 => Protocol::Icmp,
        _ => Protocol::Other,
    }
}

/// ARP for IPv4 over Ethernet (RFC 826): of its own address, or an enquiry whether that is free (RFC 5227).
#[inline(always)]
fn arp(frame: &impl Frame, owner: &impl Owner) -> Result<Protocol, Reason> {
    let head = load::<8>(frame, ETHERNET)?;
    let mac = load::<6>(frame, ETHERNET + 8)?;
    let sender = load::<4>(frame, ETHERNET + 14)?;
    let target = load::<4>(frame, ETHERNET + 24)?;
    let known = matches!(head, [0, 1, 8, 0, 6, 4, 0, 1 | 2]);
    let speaks_of = if sender == [0; 4] { target } else { sender };
    if known && mac == owner.mac() && owner.has(mapped(speaks_of)) {
        Ok(Protocol::Arp)
    } else {
        Err(Reason::Arp)
    }
}

#[inline(always)]
fn ipv4(frame: &impl Frame, owner: &impl Owner) -> Result<Protocol, Reason> {
    let head = load::<20>(frame, ETHERNET)?;
    let length = u32::from(head[0] & 0xf) * 4;
    if head[0] >> 4 != 4 || length < 20 {
        return Err(Reason::Malformed);
    }
    if !owner.has(mapped([head[12], head[13], head[14], head[15]])) {
        return Err(Reason::Address);
    }
    if length > 20 {
        ipv4_options(frame, length)?;
    }
    let (number, at) = (head[9], ETHERNET + length);
    // Later fragments have none of the header behind; the kernel refuses those that would write over it.
    if u16::from_be_bytes([head[6] & 0x1f, head[7]]) == 0 {
        match number {
            1 => match load::<1>(frame, at)? {
                [5] => return Err(Reason::Redirect),
                [9] => return Err(Reason::Router),
                _ => {}
            },
            // A query for group members: a switch sends everything of every group to where one comes from.
            2 if load::<1>(frame, at)? == [0x11] => return Err(Reason::Router),
            17 if load::<2>(frame, at)? == 67_u16.to_be_bytes() => return Err(Reason::Dhcp),
            _ => {}
        }
    }
    Ok(transport(number))
}

/// Refuses routes by the sender (RFC 791, 3.1: loose 131, strict 137).
#[inline(always)]
fn ipv4_options(frame: &impl Frame, length: u32) -> Result<(), Reason> {
    let mut at = 20;
    for _ in 0..IPV4_OPTIONS {
        if at >= length {
            return Ok(());
        }
        match load::<1>(frame, ETHERNET + at)? {
            [0] => return Ok(()),
            [1] => at += 1,
            [131 | 137] => return Err(Reason::Route),
            _ => match load::<1>(frame, ETHERNET + at + 1)? {
                [0 | 1] => return Err(Reason::Malformed),
                [own] => at += u32::from(own),
            },
        }
    }
    Ok(())
}

#[inline(always)]
fn ipv6(frame: &impl Frame, owner: &impl Owner) -> Result<Protocol, Reason> {
    let head = load::<24>(frame, ETHERNET)?;
    if head[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let mut source = [0; 16];
    source.copy_from_slice(&head[8..24]);
    // Who has no address yet may ask whether its own is free, and say which groups it listens to.
    let nameless = source == [0; 16];
    if !nameless && !owner.has(source) {
        return Err(Reason::Address);
    }
    let upper = upper(frame, ETHERNET + 40, head[6])?;
    match (upper.number, upper.part) {
        (_, Part::Later) if nameless => return Err(Reason::Address),
        (_, Part::Later) => {}
        (58, part) => icmpv6(frame, owner, upper.at, part, nameless)?,
        _ if nameless => return Err(Reason::Address),
        (17, _) if load::<2>(frame, upper.at)? == 547_u16.to_be_bytes() => return Err(Reason::Dhcp),
        _ => {}
    }
    Ok(transport(upper.number))
}

/// How much of a packet a frame holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// The fragment with the header in it.
    First,
    /// One without.
    Later,
}

/// The header behind IPv6's own and its extensions.
#[derive(Clone, Copy)]
struct Upper {
    number: u8,
    at: u32,
    part: Part,
}

/// Follows the extension headers from `at` on, the first of which has that number. All of them have to be in the first
/// fragment (RFC 7112).
#[inline(always)]
fn upper(frame: &impl Frame, mut at: u32, mut number: u8) -> Result<Upper, Reason> {
    let mut part = Part::Whole;
    for _ in 0..EXTENSIONS {
        match number {
            // For each hop; for the destination.
            0 | 60 => {
                let [next, length] = load(frame, at)?;
                (number, at) = (next, at + (u32::from(length) + 1) * 8);
            }
            43 => return Err(Reason::Route),
            44 => {
                let [next, _, offset, more, ..] = load::<8>(frame, at)?;
                number = next;
                if u16::from_be_bytes([offset, more & 0xf8]) != 0 {
                    return Ok(Upper { number, at, part: Part::Later });
                }
                (part, at) = (Part::First, at + 8);
            }
            // Authentication: its length counts words of four bytes (RFC 4302, 2.2).
            51 => {
                let [next, length] = load(frame, at)?;
                (number, at) = (next, at + (u32::from(length) + 2) * 4);
            }
            _ => return Ok(Upper { number, at, part }),
        }
    }
    Err(Reason::Malformed)
}

/// Neighbour discovery (RFC 4861) and multicast listeners (RFC 3810).
#[inline(always)]
fn icmpv6(frame: &impl Frame, owner: &impl Owner, at: u32, part: Part, nameless: bool) -> Result<(), Reason> {
    let [kind] = load(frame, at)?;
    // None of it may come in fragments (RFC 6980), and the kernel listens to none that does.
    if part == Part::First && matches!(kind, 133..=137) {
        return Err(Reason::Malformed);
    }
    match kind {
        130 | 134 => Err(Reason::Router),
        137 => Err(Reason::Redirect),
        133 if !nameless => options(frame, owner, at + 8),
        135 | 136 => {
            let target = load::<16>(frame, at + 8)?;
            if (kind == 136 || nameless) && !owner.has(target) {
                return Err(Reason::Neighbour);
            }
            options(frame, owner, at + 24)
        }
        131 | 132 | 143 => Ok(()),
        _ if nameless => Err(Reason::Address),
        _ => Ok(()),
    }
}

/// Options of a neighbour discovery message, from `at` on: a hardware address in one is to be the owner's.
#[inline(always)]
fn options(frame: &impl Frame, owner: &impl Owner, mut at: u32) -> Result<(), Reason> {
    for _ in 0..OPTIONS {
        let Some([kind, length, mac @ ..]) = frame.load::<8>(at) else { return Ok(()) };
        match (kind, length) {
            (_, 0) => return Err(Reason::Malformed),
            (1 | 2, 1) if mac == owner.mac() => {}
            (1 | 2, _) => return Err(Reason::Neighbour),
            _ => {}
        }
        at += u32::from(length) * 8;
    }
    Err(Reason::Malformed)
}

#[cfg(test)]
mod tests;
