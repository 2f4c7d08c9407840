//! That nobody waits for ever.
//!
//! The kernel takes a scheduler away that lets a task wait for 30 s. One may: in a zone without shares, of a used up cap, of a
//! share that is very small against the others', or with a nice value among many. So each CPU looks through one queue from
//! time to time, and runs what has waited for too long out of turn: until the next tick, or, while it finds more of them, no
//! longer than it takes to preempt it. That is charged as all else, and it waits behind all others of its zone's then: so
//! who waits longest is first in its queue.

use zone_ebpf_abi::{MAX_SLOTS, fss::FssCpu};

use crate::{
    host, kernel,
    queue::Queue,
    run,
    zone::{self, Zone},
};

/// How often a CPU looks through a queue, nanoseconds.
const EVERY: u64 = 10_000_000;
/// How long a task may wait, seconds.
const PATIENCE: u64 = 8;
/// The same in a zone that is not served by its turn: it may hold a lock of the kernel's that others wait for.
const PATIENCE_OUT_OF_LINE: u64 = 2;
/// How many slots are passed over at once to find one whose queue is not empty.
const STEPS: u32 = 32;

/// What is run out of turn has a slice, which ends at the next tick.
pub(crate) const ALONE: u32 = 1;
/// It is preempted at once: there are many more.
pub(crate) const CROWDED: u32 = 2;

/// Takes a task for this CPU that has waited for too long, if it is time to look and there is one.
#[inline(always)]
pub(crate) fn rescue(cpu: u32, own: Queue) -> Option<()> {
    let now = kernel::now();
    let state = run::on(cpu)?;
    if now.wrapping_sub(state.swept_ns) < EVERY {
        return None;
    }
    let (queue, patience) = looked_at(state);
    // Where there are many, the rest of them can wait for as long as anybody.
    let patience = if state.found == 0 { patience } else { PATIENCE };
    let then = |patience: u64| kernel::ticks().wrapping_sub(patience * kernel::ticks_a_second());
    if own.take_older(then(PATIENCE), cpu) || queue.take_older(then(patience), cpu) {
        // The next look is at the next chance, and then the one that is found is one of many.
        state.rescue = if state.found == 0 { ALONE } else { CROWDED };
        state.found = 1;
        return Some(());
    }
    (state.swept_ns, state.found) = (now, 0);
    // What waits for other CPUs has every second look, if there is any.
    state.sweeps_cpus = u32::from(state.sweeps_cpus == 0 && zone::bound() != 0);
    let owner = host::owner(cpu);
    if state.sweeps_cpus != 0 {
        state.sweep_cpu = if state.sweep_cpu + 1 < kernel::cpus() { state.sweep_cpu + 1 } else { 0 };
    } else {
        state.sweep = if owner == 0 { next(state.sweep) } else { owner - 1 };
    }
    None
}

/// The queue that a CPU looks through now, and how long one may wait there.
#[inline(always)]
fn looked_at(state: &FssCpu) -> (Queue, u64) {
    if state.sweeps_cpus != 0 {
        let gone = run::on(state.sweep_cpu).is_some_and(|other| other.gone != 0);
        return (Queue::of_cpu(state.sweep_cpu), if gone { 0 } else { PATIENCE });
    }
    let in_line = |zone: Zone| zone.weight() != 0 && zone.throttled() == 0;
    let patience =
        if Zone::of_slot(state.sweep).is_some_and(in_line) { PATIENCE } else { PATIENCE_OUT_OF_LINE };
    (Queue::of_zone(state.sweep), patience)
}

/// The next slot that has somebody in its queue, if there is one near.
#[inline(always)]
fn next(slot: u32) -> u32 {
    let mut step = 1;
    while step < STEPS {
        let next = (slot + step) & (MAX_SLOTS - 1);
        if Zone::of_slot(next).is_some_and(|zone| zone.queued() != 0 && host::owned(zone) == 0) {
            return next;
        }
        step += 1;
    }
    (slot + STEPS) & (MAX_SLOTS - 1)
}
