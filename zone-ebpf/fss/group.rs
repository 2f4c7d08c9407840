//! Cgroups' weights and caps, as the kernel tells them.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use zone_ebpf_abi::{
    HOST, Identity,
    fss::{FssGroup, MAX_GROUPS, MAX_INNER},
};

use crate::{
    atomic, cap, inner,
    kernel::{Cgroup, GroupArguments, argument, zone_level},
    tree::Tree,
    zone::{Zone, identify},
};

#[btf_map(name = "fss_groups")]
static GROUPS: HashMap<u64, FssGroup, { MAX_GROUPS as usize }, NO_PREALLOC> = HashMap::new();

/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: usize = 1;

/// What is known of a cgroup.
#[inline(always)]
pub(crate) fn of(id: u64) -> Option<FssGroup> {
    // SAFETY: copied out at once; a group's entry is removed with the group.
    unsafe { GROUPS.get(id) }.copied()
}

/// The same, to be changed.
#[inline(always)]
pub(crate) fn at(id: u64) -> Option<*mut FssGroup> {
    if id == 0 { None } else { GROUPS.get_ptr_mut(id) }
}

#[inline(always)]
fn cgroup(ctx: *const u64) -> Cgroup {
    Cgroup(argument(ctx, 0) as *mut _)
}

/// Rate in 1024ths of a CPU and burst in nanoseconds.
#[inline(always)]
fn cap_of(period_us: u64, quota_us: u64, burst_us: u64) -> (u64, u64) {
    if quota_us == u64::MAX || period_us == 0 {
        return (0, 0);
    }
    // SAFETY: it was looked at just now; the compiler would call for a panic.
    unsafe { core::hint::assert_unchecked(period_us != 0) };
    ((quota_us << 10) / period_us, (quota_us + burst_us) * 1000)
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops.s/cgroup_init")]
extern "C" fn fss_cgroup_init(ctx: *const u64) -> i32 {
    let group = cgroup(ctx);
    let level = group.level();
    // No group is refused over this: what is in one that is not known counts as its zone's own.
    if !has_room(group, level) {
        return 0;
    }
    let arguments = GroupArguments(argument(ctx, 1) as *const _);
    let (period, quota, burst) = arguments.bandwidth();
    let (cap, burst_ns) = cap_of(period, quota, burst);
    let parent = if level == 0 { 0 } else { group.ancestor(level - 1) };
    let known = FssGroup {
        parent,
        level,
        weight: arguments.weight(),
        idle: arguments.is_idle().into(),
        cap,
        burst_ns,
        ..FssGroup::default()
    };
    if GROUPS.insert(group.id(), known, 0).is_err() {
        forget(group, level);
    }
    0
}

/// The zone's own group that a group is inside of.
#[inline(always)]
fn around(group: Cgroup, level: u32) -> Option<*mut FssGroup> {
    if level <= zone_level() {
        return None;
    }
    let zone = group.ancestor(zone_level());
    if identify(zone) == HOST { None } else { at(zone) }
}

/// Who makes thousands of groups inside of a zone takes no room from others.
#[inline(always)]
fn has_room(group: Cgroup, level: u32) -> bool {
    let Some(zone) = around(group, level) else { return true };
    // SAFETY: of a map value.
    let inner = unsafe { &raw mut (*zone).inner };
    let room = atomic::add32(inner, 1) < MAX_INNER;
    if !room {
        atomic::add32(inner, 1_u32.wrapping_neg());
    }
    room
}

/// A group is not known any more.
#[inline(always)]
fn forget(group: Cgroup, level: u32) {
    if let Some(zone) = around(group, level) {
        // SAFETY: of a map value.
        atomic::add32(unsafe { &raw mut (*zone).inner }, 1_u32.wrapping_neg());
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops.s/cgroup_exit")]
extern "C" fn fss_cgroup_exit(ctx: *const u64) -> i32 {
    let group = cgroup(ctx);
    if GROUPS.remove(group.id()).is_ok() {
        forget(group, group.level());
    }
    0
}

/// The entry of a cgroup, and the zone that it is the root of.
#[inline(always)]
fn known(group: Cgroup) -> (Option<*mut FssGroup>, Option<Zone>) {
    let id = group.id();
    let zone = match if group.level() == zone_level() { identify(id) } else { HOST } {
        HOST => None,
        Identity { slot, generation } => Zone::of_slot(slot).filter(|zone| zone.generation() == generation),
    };
    (at(id), zone)
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/cgroup_set_weight")]
extern "C" fn fss_cgroup_set_weight(ctx: *const u64) -> i32 {
    let weight = argument(ctx, 1) as u32;
    change(cgroup(ctx), |group| group.weight = weight);
    0
}

#[inline(always)]
fn change(group: Cgroup, how: impl FnOnce(&mut FssGroup)) {
    let (entry, zone) = known(group);
    let Some(at) = entry else { return };
    // SAFETY: of a map value.
    let entry = unsafe { &mut *at };
    how(entry);
    if let (Some(zone), Some(tree)) = (zone, Tree::get()) {
        zone.set_weight(effective(entry));
        zone.refresh(tree);
    } else {
        inner::tell_parents(at);
    }
}

/// What a group weighs: nothing while it is idle.
#[inline(always)]
pub(crate) fn effective(group: &FssGroup) -> u32 {
    if group.idle != 0 { 0 } else { group.weight }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/cgroup_set_idle")]
extern "C" fn fss_cgroup_set_idle(ctx: *const u64) -> i32 {
    // The kernel tells a weight only where it is another than the last, whatever was idle in between.
    let idle = argument(ctx, 1) & 0xff != 0;
    change(cgroup(ctx), |group| group.idle = idle.into());
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/cgroup_set_bandwidth")]
extern "C" fn fss_cgroup_set_bandwidth(ctx: *const u64) -> i32 {
    let (entry, zone) = known(cgroup(ctx));
    let (cap, burst_ns) = cap_of(argument(ctx, 1), argument(ctx, 2), argument(ctx, 3));
    if let Some(entry) = entry {
        // SAFETY: of a map value.
        unsafe { ((*entry).cap, (*entry).burst_ns) = (cap, burst_ns) }
    }
    if let Some(zone) = zone {
        cap::set(zone, cap, burst_ns);
    }
    0
}
