//! What zones send and receive: guarded and counted where their links end on the host, counted at their sockets where
//! they have no such end.
//!
//! ```text
//! zone ── link ──▶ zone_sent      is it the zone's own? ──▶ bridge       (clsact ingress)
//! zone ◀── link ── zone_received  ◀──────────────────────── bridge       (clsact egress)
//! ```
//! Both ends of the host's see every frame that the kernel's own counters of the link do. An interface that nobody has
//! named sends nothing. What is guarded cannot be reached by a zone's root: the programs hang on the host's end.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::{btf_map, cgroup_skb, classifier},
    programs::{SkBuffContext, TcContext, sk_buff::SkBuff},
};
use zone_ebpf_abi::{
    AddressKey, Identity, Link, MAX_ADDRESSES, MAX_LINKS, MAX_SLOTS, NetFigures, Protocol, Reason, SocketKey,
    frame::{self, Frame, Owner},
};

use crate::identity;

const SPARSE: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map(name = "zone_links")]
static LINKS: HashMap<u32, Link, { MAX_LINKS as usize }, SPARSE> = HashMap::new();

#[btf_map(name = "zone_addresses")]
static ADDRESSES: HashMap<AddressKey, u32, { MAX_ADDRESSES as usize }, SPARSE> = HashMap::new();

#[btf_map(name = "zone_sockets")]
static SOCKETS: HashMap<SocketKey, u32, { MAX_LINKS as usize }, SPARSE> = HashMap::new();

#[btf_map(name = "zone_net")]
static FIGURES: PerCpuArray<NetFigures, { MAX_SLOTS as usize }> = PerCpuArray::new();

/// What programs of another layout had counted. Written and read by user space only, to outlive it beside the rest.
#[btf_map(name = "zone_net_before")]
static CARRIED: Array<NetFigures, { MAX_SLOTS as usize }> = Array::new();

/// Whoever comes next decides (`TC_ACT_UNSPEC`); if nobody does, it goes on.
const NEXT: i32 = -1;
/// It goes no further (`TC_ACT_SHOT`).
const DROP: i32 = 2;
/// What a program at a cgroup's sockets says of what goes on.
const PASS: i32 = 1;

/// The packet is passed to a program on a link with its Ethernet header, to one at sockets from the IP header on.
struct Packet(*mut __sk_buff);

impl Packet {
    #[inline(always)]
    fn bytes(&self) -> u64 {
        // SAFETY: the kernel's context is valid while the program runs.
        u64::from(unsafe { (*self.0).len })
    }

    /// Number of the interface in the network namespace it is in.
    #[inline(always)]
    fn link(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ifindex }
    }

    /// A tag for a VLAN that the kernel has taken out of the frame.
    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.0).vlan_present != 0 }
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        SkBuff::new(self.0).load(at as usize).ok()
    }
}

/// Whose a link is.
struct Station {
    number: u32,
    link: Link,
}

impl Station {
    /// None for a link that nobody has named: then nothing is known of who may send there.
    #[inline(always)]
    fn of(packet: &Packet) -> Option<Self> {
        let number = packet.link();
        // SAFETY: copied out at once. User space writes an entry before the programs are on its link, and removes it
        // when nothing of the zone is left that could send.
        let link = *unsafe { LINKS.get(number) }?;
        Some(Station { number, link })
    }

    #[inline(always)]
    fn identity(&self) -> Identity {
        Identity { slot: self.link.slot, generation: self.link.generation }
    }
}

impl Owner for Station {
    #[inline(always)]
    fn mac(&self) -> [u8; 6] {
        self.link.mac
    }

    #[inline(always)]
    fn has(&self, ip: [u8; 16]) -> bool {
        ADDRESSES.get_ptr(AddressKey { link: self.number, ip }).is_some()
    }
}

#[classifier]
pub(crate) fn zone_sent(ctx: TcContext) -> i32 {
    let packet = Packet(ctx.skb.skb);
    let Some(station) = Station::of(&packet) else { return DROP };
    let judged = if packet.is_tagged() { Err(Reason::Ethertype) } else { frame::judge(&packet, &station) };
    let figures = figures(station.identity());
    if let Some(figures) = figures {
        // SAFETY: as `figures` says; the two programs on links run with interrupts for packets held back.
        let figures = unsafe { &mut *figures };
        let traffic = figures.sent.of(judged.unwrap_or(Protocol::Other));
        traffic.packets += 1;
        traffic.bytes += packet.bytes();
        if let Err(reason) = judged {
            *figures.dropped.of(reason) += 1;
        }
    }
    if judged.is_ok() { NEXT } else { DROP }
}

#[classifier]
pub(crate) fn zone_received(ctx: TcContext) -> i32 {
    let packet = Packet(ctx.skb.skb);
    if let Some(figures) = Station::of(&packet).and_then(|station| figures(station.identity())) {
        // SAFETY: as in `zone_sent`.
        let traffic = unsafe { (*figures).received.of(frame::classify(&packet)) };
        traffic.packets += 1;
        traffic.bytes += packet.bytes();
    }
    NEXT
}

#[cgroup_skb(egress)]
pub(crate) fn zone_sock_sent(ctx: SkBuffContext) -> i32 {
    at_socket(&Packet(ctx.skb.skb), true);
    PASS
}

#[cgroup_skb(ingress)]
pub(crate) fn zone_sock_recv(ctx: SkBuffContext) -> i32 {
    at_socket(&Packet(ctx.skb.skb), false);
    PASS
}

/// Counts a packet that passes a socket of a zone, if it goes by an interface that is counted here.
#[inline(always)]
fn at_socket(packet: &Packet, sent: bool) -> Option<()> {
    let Identity { slot, generation } = identity::of_packet(packet.0)?;
    let link = packet.link();
    let named = |link| SOCKETS.get_ptr(SocketKey { slot, generation, link }).is_some();
    if link == SocketKey::LOOPBACK || !(named(SocketKey::ANY_LINK) || named(link)) {
        return None;
    }
    let figures = figures(Identity { slot, generation })?;
    let protocol = frame::classify_packet(packet, 0);
    // SAFETY: as `figures` says. A packet that comes can interrupt one that goes: each word is added to whole.
    unsafe {
        let direction = if sent { &mut (*figures).sent } else { &mut (*figures).received };
        let traffic = direction.of(protocol);
        add_whole(&raw mut traffic.packets, 1);
        add_whole(&raw mut traffic.bytes, packet.bytes());
    }
    Some(())
}

/// The figures of a zone on this CPU; begun anew where those of an earlier zone are still in its slot. Valid until the
/// program ends.
#[inline(always)]
fn figures(zone: Identity) -> Option<*mut NetFigures> {
    let figures = FIGURES.get_ptr_mut(zone.slot)?;
    // SAFETY: this CPU's entry.
    unsafe {
        if (*figures).generation != zone.generation {
            *figures = NetFigures::begin(zone.generation);
        }
    }
    Some(figures)
}

/// Adds in one instruction, which nothing can come between.
///
/// # Safety
/// The number is valid.
#[inline(always)]
unsafe fn add_whole(number: *mut u64, more: u64) {
    // The target has no atomics in `core`.
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller vouches for the number; nothing else is touched.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) number, in(reg) more, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as above.
    unsafe {
        *number += more;
    }
}
