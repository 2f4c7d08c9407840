//! A CPU wants a task: who is served.

use zone_ebpf_abi::fss::{MAX_CPUS, NOBODY, before};

use crate::{
    cap,
    enqueue::CPU_QUEUE,
    kernel::{self, Task, argument},
    run, task,
    tree::Tree,
    zone::{self, Zone},
};

/// What is run out of turn has a slice, which ends at the next tick.
pub(crate) const ALONE: u32 = 1;
/// It is preempted at once: there are many more.
pub(crate) const CROWDED: u32 = 2;

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/dispatch")]
extern "C" fn fss_dispatch(ctx: *const u64) -> i32 {
    serve(argument(ctx, 0) as u32, Task::argument(ctx, 1));
    0
}

/// Takes a task for this CPU, or leaves it the one it has.
#[inline(always)]
fn serve(cpu: u32, last: Task) -> Option<()> {
    let tree = Tree::get()?;
    if let Some(slot) = cap::to_rescue()
        && kernel::take(u64::from(slot))
    {
        let zone = Zone::of_slot(slot)?;
        zone.served(kernel::now());
        run::on(cpu)?.rescue = if cap::is_crowded(zone) { CROWDED } else { ALONE };
        return Some(());
    }
    let own_queue = CPU_QUEUE + u64::from(cpu);
    let (slot, waiting) = tree.first();
    let bound = bound_rank(own_queue);
    let first = if before(bound, waiting) { bound } else { waiting };
    if goes_on(last, slot, first).is_some() {
        return Some(());
    }
    if before(bound, waiting) && kernel::take(own_queue) {
        return Some(());
    }
    if waiting != NOBODY && take_of(slot) {
        return Some(());
    }
    // The zone that is first has something on its way into its queue, or another CPU has just taken the last of it.
    let (second, waiting) = tree.first_but(slot);
    if waiting != NOBODY && take_of(second) || kernel::take(own_queue) {
        return Some(());
    }
    steal(cpu);
    Some(())
}

#[inline(always)]
fn take_of(slot: u32) -> bool {
    if !kernel::take(u64::from(slot)) {
        return false;
    }
    if let Some(zone) = Zone::of_slot(slot) {
        zone.in_turn();
        zone.served(kernel::now());
    }
    true
}

/// What the zone of the task that waits first for this CPU alone is served by.
#[inline(always)]
fn bound_rank(queue: u64) -> u64 {
    // SAFETY: a function of the kernel, called as it defines it.
    if unsafe { kernel::scx_bpf_dsq_nr_queued(queue) } <= 0 {
        return NOBODY;
    }
    let zone = kernel::head(queue).and_then(|head| {
        let kept = task::of(head)?;
        if kept.bound_in == 0 { None } else { Zone::of_slot(kept.bound_in - 1) }
    });
    match zone {
        Some(zone) if zone.throttled() != 0 => NOBODY,
        Some(zone) => zone.rank(),
        // It is not known whose turn it is: better too early than never.
        None => 0,
    }
}

/// Whether the task that the CPU has goes on: its zone has had less than all that wait.
#[inline(always)]
fn goes_on(last: Task, slot: u32, first: u64) -> Option<()> {
    if last.0.is_null() || !last.is_ready() {
        return None;
    }
    let kept = task::of(last)?;
    if kept.runs_for == 0 || kept.runs_for == slot + 1 && first != NOBODY {
        return None;
    }
    let zone = Zone::of_slot(kept.runs_for - 1)?;
    cap::settle(zone, last, kept);
    if zone.throttled() != 0 || before(first, zone.rank()) {
        return None;
    }
    zone.in_turn();
    let slice = zone::slice();
    kept.promised = kept.promised.wrapping_add(zone.promise(slice));
    last.set_slice(slice);
    Some(())
}

/// A task that another CPU has not come to yet and that may run here.
#[inline(always)]
fn steal(cpu: u32) {
    let (cpus, mut other) = (kernel::cpus(), 0);
    while other < MAX_CPUS {
        if other >= cpus {
            return;
        }
        if other != cpu
            && bound_rank(CPU_QUEUE + u64::from(other)) != NOBODY
            && kernel::take(CPU_QUEUE + u64::from(other))
        {
            return;
        }
        other += 1;
    }
}

/// A CPU has nothing to do. What came into a queue after it had looked there must not wait for somebody to notice.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/update_idle")]
extern "C" fn fss_update_idle(ctx: *const u64) -> i32 {
    let (cpu, idle) = (argument(ctx, 0) as i32, argument(ctx, 1) & 0xff != 0);
    if idle
        && let Some(tree) = Tree::get()
        && (tree.first().1 != NOBODY || bound_rank(CPU_QUEUE + cpu as u64) != NOBODY)
    {
        kernel::kick(cpu, kernel::kick_idle());
    }
    0
}
