//! That nobody waits for ever.
//!
//! The kernel takes a scheduler away that lets a task wait for 30 s. One may: in a zone without shares, of a used up cap, of a
//! share that is very small against the others', or with a nice value among many. So each CPU looks through one queue from
//! time to time, and runs what has waited for too long out of turn: until the next tick, or, while it finds more of them, no
//! longer than it takes to preempt it. That is charged as all else.

use zone_ebpf_abi::MAX_SLOTS;

use crate::{host, kernel, queue::Queue, run, zone::Zone};

/// How often a CPU looks through a queue, nanoseconds.
const EVERY: u64 = 10_000_000;
/// How long a task may wait, seconds.
const PATIENCE: u64 = 8;
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
    let then = kernel::ticks().wrapping_sub(PATIENCE * kernel::ticks_a_second());
    if own.take_older(then) || Queue::of_zone(state.sweep).take_older(then) {
        // The next look is at the next chance, and then the one that is found is one of many.
        state.rescue = if state.found == 0 { ALONE } else { CROWDED };
        state.found = 1;
        return Some(());
    }
    (state.swept_ns, state.found) = (now, 0);
    let owner = host::owner(cpu);
    state.sweep = if owner == 0 { next(state.sweep) } else { owner - 1 };
    None
}

/// The next slot that has somebody in its queue, if there is one near.
#[inline(always)]
fn next(slot: u32) -> u32 {
    let mut step = 1;
    while step < STEPS {
        let next = (slot + step) & (MAX_SLOTS - 1);
        if Zone::of_slot(next).is_some_and(|zone| zone.queued() != 0 && host::owned(next) == 0) {
            return next;
        }
        step += 1;
    }
    (slot + STEPS) & (MAX_SLOTS - 1)
}
