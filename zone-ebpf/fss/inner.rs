//! Shares inside of a zone, and of the host: groups below it divide its CPU time by their weights.
//!
//! What is ready to run in a group is counted, as a weight, and its parent counts the group's own weight while there is some.
//! A task's virtual time passes the faster, the smaller its part of that is, all the way up to its zone's own group. So one
//! queue a zone is enough, however many groups there are and however deep.

use aya_ebpf::{cty::c_void, helpers::bpf_loop};
use zone_ebpf_abi::{
    HOST,
    fss::{FssGroup, FssTask, WHOLE, passed, within},
};

use crate::{
    atomic, group,
    kernel::{Task, zone_level},
    zone::identify,
};

/// How many groups deep weights count, from a task's own upwards.
const DEPTH: u32 = 8;
/// How often a count is put right that others change at the same time. They do it as well.
const ATTEMPTS: u32 = 3;

/// Whether that is where shares are divided from: a zone's own group, or the root.
#[inline(always)]
fn is_top(id: u64, group: *mut FssGroup) -> bool {
    // SAFETY: of a map value.
    let level = unsafe { (*group).level };
    level == 0 || level == zone_level() && identify(id) != HOST
}

/// A task is ready to run.
#[inline(always)]
pub(crate) fn join(task: Task, kept: &mut FssTask) -> Option<()> {
    leave(kept);
    let id = task.group();
    let group = group::at(id)?;
    if is_top(id, group) {
        kept.group = 0;
        return None;
    }
    (kept.group, kept.weighs, kept.counted) = (id, task.weight(), 1);
    // SAFETY: of a map value.
    unsafe { atomic::add(&raw mut (*group).active, u64::from(kept.weighs)) };
    tell_parents(group);
    Some(())
}

/// It is no more.
#[inline(always)]
pub(crate) fn leave(kept: &mut FssTask) {
    if kept.counted == 0 {
        return;
    }
    kept.counted = 0;
    if let Some(group) = group::at(kept.group) {
        // SAFETY: of a map value.
        unsafe { atomic::add(&raw mut (*group).active, u64::from(kept.weighs).wrapping_neg()) };
        tell_parents(group);
    }
}

/// Has those above a group count it as it is now.
#[inline(always)]
pub(crate) fn tell_parents(from: *mut FssGroup) -> Option<()> {
    // Most groups are no deeper than this.
    let mut next = tell_one(from)?;
    // SAFETY: the function is one that the helper can call, and takes an id.
    unsafe { bpf_loop(DEPTH, tell_parent as *mut c_void, (&raw mut next).cast(), 0) };
    Some(())
}

/// Called for each group on the way up; 0 to go on.
#[unsafe(no_mangle)]
extern "C" fn tell_parent(_depth: u32, id: *mut u64) -> i64 {
    // SAFETY: `tell_parents` hands it over.
    match unsafe { id.as_mut() } {
        Some(id) => i64::from(next_up(id).is_none()),
        None => 1,
    }
}

#[inline(always)]
fn next_up(id: &mut u64) -> Option<()> {
    *id = tell_one(group::at(*id)?)?;
    Some(())
}

/// Has a group's parent count it as it is now. Id of the parent if its own has to be told as well.
#[inline(always)]
fn tell_one(group: *mut FssGroup) -> Option<u64> {
    // SAFETY: of a map value.
    let above = unsafe { (*group).parent };
    let parent = group::at(above)?;
    (tell(group, parent) && !is_top(above, parent)).then_some(above)
}

/// The same. Whether its parent has something to run now and had not, or the other way around.
#[inline(always)]
fn tell(group: *mut FssGroup, parent: *mut FssGroup) -> bool {
    let (mut turned, mut attempt) = (false, 0);
    while attempt < ATTEMPTS {
        // SAFETY: of map values. Who writes last has seen what there is: after each change it is looked at once more.
        unsafe {
            let active = (&raw const (*group).active).read_volatile();
            let counts = if active == 0 { 0 } else { weight(&*group) };
            let more = counts.wrapping_sub(atomic::swap(&raw mut (*group).counted, counts));
            if more == 0 {
                break;
            }
            let before = atomic::add(&raw mut (*parent).active, more);
            turned |= before == 0 || before.wrapping_add(more) == 0;
        }
        attempt += 1;
    }
    turned
}

/// What a group weighs against others: an idle one next to nothing.
#[inline(always)]
fn weight(group: &FssGroup) -> u64 {
    u64::from(group::effective(group).max(1))
}

/// A task had so much service: its virtual time passes.
#[inline(always)]
pub(crate) fn pass(task: Task, kept: &mut FssTask, ns: u64) {
    kept.virtual_ns = kept.virtual_ns.wrapping_add(passed(ns, task.weight(), share(kept.group)));
}

/// What a task of that group is of one that is in no group of its zone's.
#[inline(always)]
fn share(id: u64) -> u64 {
    let mut part = Part { id, share: WHOLE };
    if id != 0 {
        // SAFETY: as above, and takes a part.
        unsafe { bpf_loop(DEPTH, part_of_parent as *mut c_void, (&raw mut part).cast(), 0) };
    }
    part.share
}

/// What a task of a group has, counted so far up.
struct Part {
    id: u64,
    share: u64,
}

/// Called for each group on the way up; 0 to go on.
#[unsafe(no_mangle)]
extern "C" fn part_of_parent(_depth: u32, part: *mut Part) -> i64 {
    // SAFETY: `share` hands it over.
    match unsafe { part.as_mut() } {
        Some(part) => i64::from(part_of(part).is_none()),
        None => 1,
    }
}

#[inline(always)]
fn part_of(part: &mut Part) -> Option<()> {
    let group = group::at(part.id)?;
    if is_top(part.id, group) {
        return None;
    }
    // SAFETY: of a map value.
    let group = unsafe { group.as_ref()? };
    part.share = within(part.share, weight(group) as u32, group.active);
    part.id = group.parent;
    Some(())
}
