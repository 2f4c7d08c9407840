//! Which zone the current task, or a packet's socket, belongs to.
//!
//! A zone is the cgroup at one fixed depth of cgroup2, however deep a task nests below it. Only the current task is
//! ever asked, or the socket of a packet: then the kernel's own helper walks the cgroups, and no structure that changes
//! between kernels is read.

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    btf_maps::HashMap,
    helpers::{bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id},
    macros::btf_map,
};
use zone_ebpf_abi::{HOST, Identity, MAX_SLOTS};

#[unsafe(no_mangle)]
static ZONE_LEVEL: Global<u32> = Global::new(2);

#[btf_map(name = "zone_ids")]
static IDS: HashMap<u64, Identity, { MAX_SLOTS as usize }> = HashMap::new();

/// Id of the current task's cgroup at the zones' depth; 0 if it is not that deep.
#[inline(always)]
pub(crate) fn current_cgroup() -> u64 {
    // SAFETY: the helper takes a number and has no other demand.
    unsafe { bpf_get_current_ancestor_cgroup_id(ZONE_LEVEL.load() as i32) }
}

/// The zone of the current task; [`HOST`] for everything that is in no zone.
#[inline(always)]
pub(crate) fn current() -> Identity {
    match current_cgroup() {
        0 => HOST,
        id => of_cgroup(id).unwrap_or(HOST),
    }
}

/// The zone that a cgroup is the root of.
#[inline(always)]
pub(crate) fn of_cgroup(id: u64) -> Option<Identity> {
    // SAFETY: copied out at once. User space writes an entry before anything runs in that cgroup and removes it
    // when nothing does, so that it does not change under the copy.
    unsafe { IDS.get(id) }.copied()
}

/// The zone of a packet's socket.
#[inline(always)]
pub(crate) fn of_packet(packet: *mut __sk_buff) -> Option<Identity> {
    // SAFETY: the packet is the context of the program that runs.
    of_cgroup(unsafe { bpf_skb_ancestor_cgroup_id(packet, ZONE_LEVEL.load() as i32) })
}
