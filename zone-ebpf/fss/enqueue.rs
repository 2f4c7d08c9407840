//! A task is ready to run: where it waits.

use zone_ebpf_abi::fss::{FssTask, before, is_idle, place, weighted};

use crate::{
    atomic, host, inner,
    kernel::{self, Task, argument},
    queue::Queue,
    run, task,
    tree::Tree,
    zone::{self, Zone},
};

/// By how much less a zone must have had before it takes the CPU from another in the midst of a slice: a quarter of one.
const MARGIN: u64 = zone::SLICE / 4;

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/select_cpu")]
extern "C" fn fss_select_cpu(ctx: *const u64) -> i32 {
    let woken = Task::argument(ctx, 0);
    let (cpu, idle) = woken.select_cpu(argument(ctx, 1) as i32, argument(ctx, 2));
    if idle {
        run_at_once(woken);
    }
    cpu
}

/// On a CPU that has nothing to do.
#[inline(always)]
fn run_at_once(woken: Task) -> Option<()> {
    let kept = task::of(woken)?;
    let zone = task::zone(woken, kept)?;
    if zone.throttled() == 0 {
        zone.want(only(woken, zone), true);
        zone.catch_up(woken, kept, zone::SLICE);
        woken.insert(Queue::local(), zone::slice(), 0);
    }
    Some(())
}

/// The CPU that a task is to run on, if it may use only some of those that its zone's others may.
#[inline(always)]
fn only(task: Task, zone: Zone) -> Option<u32> {
    host::is_bound(task, zone).then(|| task.cpu() as u32)
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/enqueue")]
extern "C" fn fss_enqueue(ctx: *const u64) -> i32 {
    let (ready, flags) = (Task::argument(ctx, 0), argument(ctx, 1));
    if ready.serves_its_cpu() {
        ready.insert(Queue::local(), kernel::default_slice(), flags | kernel::preempt());
    } else if ready.is_kernels() && flags & kernel::wakeup() != 0 {
        // Others of the kernel's have a slice at once, however small the host's part is beside hundreds of zones: everybody
        // depends on them, the kernel's watch over this scheduler first. What they want beyond that waits its turn.
        ready.insert(Queue::local(), zone::SLICE, flags | kernel::preempt());
    } else if wait(ready, flags).is_none() {
        // Nothing could be kept of it, for want of memory.
        ready.insert(Queue::local(), zone::slice(), flags);
    }
    0
}

#[inline(always)]
fn wait(ready: Task, flags: u64) -> Option<()> {
    let kept = task::of(ready)?;
    let zone = task::zone(ready, kept)?;
    let tree = Tree::get()?;
    let (woken, only) = (flags & kernel::wakeup() != 0, only(ready, zone));
    zone.want(only, woken);
    // One that slept does not come with a claim on what the others had meanwhile. One that did not missed it while others, on
    // other CPUs, came further than it could alone.
    zone.catch_up(ready, kept, if woken { zone::SLICE } else { zone::CLAIM });
    leave_queue(kept, tree);
    let cpu = ready.cpu();
    // Where a throttled zone's tasks are first in a CPU's queue they would hold up the others'.
    if let Some(only) = only
        && zone.throttled() == 0
    {
        kept.bound_in = zone.slot + 1;
        let place = place_of_next(zone, only);
        zone.count_bound(true);
        ready.insert_by(Queue::of_cpu(only), zone::slice(), place, flags);
    } else {
        kept.queued_in = zone.slot + 1;
        zone.count_queued(true);
        zone.refresh(tree);
        ready.insert_by(Queue::of_zone(zone.slot), zone::slice(), kept.virtual_ns, flags);
    }
    if zone.throttled() != 0 {
        return Some(());
    }
    let idle = ready.pick_idle();
    if idle >= 0 {
        kernel::kick(idle, kernel::kick_idle());
    } else if woken && goes_first(zone, kept.virtual_ns, cpu).is_some() {
        kernel::kick(cpu, kernel::kick_preempt());
    }
    Some(())
}

/// Where in a CPU's queue a zone's next task stands.
#[inline(always)]
fn place_of_next(zone: Zone, cpu: u32) -> u64 {
    let own = zone.virtual_ns();
    // Where all are of one zone there is nobody to come after.
    let now = if host::owned(zone) == 0 { run::time(cpu) } else { own };
    place(own, zone.weight(), zone.bound(), zone::slice(), now)
}

/// What waits in a zone's queue though it may use some CPUs only, which is how a throttled zone's wait, waits for one of them
/// from now on.
#[inline(always)]
pub(crate) fn send_home(slot: u32, tree: Tree) -> Option<()> {
    let zone = Zone::of_slot(slot)?;
    let home = |task: Task| only(task, zone).map(|cpu| (Queue::of_cpu(cpu), place_of_next(zone, cpu)));
    Queue::of_zone(slot).send(home, |task| {
        let Some(kept) = task::of(task) else { return };
        // Where it runs already, that is counted.
        if atomic::swap32(&raw mut kept.queued_in, 0) != 0 {
            zone.count_queued(false);
            kept.bound_in = slot + 1;
            zone.count_bound(true);
        }
        kernel::kick(task.cpu(), kernel::kick_idle());
    });
    zone.refresh(tree);
    Some(())
}

/// Whether a task that wakes is to have the CPU before what runs there.
#[inline(always)]
fn goes_first(zone: Zone, task_virtual_ns: u64, cpu: i32) -> Option<()> {
    let runs = run::on(cpu as u32)?;
    if runs.runs == 0 {
        // It is about to take one, and may have looked before this one was there.
        return Some(());
    }
    if runs.runs == zone.slot + 1 {
        let margin = weighted(MARGIN, zone_ebpf_abi::fss::DEFAULT_WEIGHT);
        let ahead = runs.task_virtual_ns.wrapping_sub(task_virtual_ns) as i64;
        return (ahead > margin as i64).then_some(());
    }
    let other = Zone::of_slot(runs.runs - 1)?;
    let (own, others) = (zone.rank(), other.rank());
    if is_idle(own) != is_idle(others) {
        return is_idle(others).then_some(());
    }
    before(own.wrapping_add(weighted(MARGIN, zone.weight())), others).then_some(())
}

/// It waits in no queue any more.
#[inline(always)]
pub(crate) fn leave_queue(kept: &mut FssTask, tree: Tree) {
    if let Some(zone) = uncount(kept) {
        zone.refresh(tree);
    }
}

/// Counts it in no queue any more. Its zone, if it was counted in that one's: the tree does not know yet.
#[inline(always)]
pub(crate) fn uncount(kept: &mut FssTask) -> Option<Zone> {
    let queued_in = if kept.queued_in == 0 { 0 } else { atomic::swap32(&raw mut kept.queued_in, 0) };
    let bound_in = if kept.bound_in == 0 { 0 } else { atomic::swap32(&raw mut kept.bound_in, 0) };
    if bound_in != 0
        && let Some(zone) = Zone::of_slot(bound_in - 1)
    {
        zone.count_bound(false);
    }
    if queued_in == 0 {
        return None;
    }
    let zone = Zone::of_slot(queued_in - 1)?;
    zone.count_queued(false);
    Some(zone)
}

/// It is ready to run, wherever it will wait.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/runnable")]
extern "C" fn fss_runnable(ctx: *const u64) -> i32 {
    let ready = Task::argument(ctx, 0);
    if let Some(kept) = task::of(ready) {
        inner::join(ready, kept);
    }
    0
}

/// It is ready no more, or about to be changed.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/quiescent")]
extern "C" fn fss_quiescent(ctx: *const u64) -> i32 {
    if let (Some(kept), Some(tree)) = (task::of(Task::argument(ctx, 0)), Tree::get()) {
        leave_queue(kept, tree);
        inner::leave(kept);
    }
    0
}
