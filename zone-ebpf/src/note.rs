//! What is remembered of tasks between their slices: since when one waits, and up to where it has been charged.

use aya_ebpf::{
    btf_maps::Array,
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use zone_ebpf_abi::{NOTES, Stamp, TaskNote};

use crate::{active, task::Task};

#[btf_map(name = "zone_notes")]
static ALL: Array<TaskNote, { NOTES as usize }> = Array::new();

/// Argument: the task that was woken.
#[btf_tracepoint(function = "sched_wakeup")]
pub(crate) fn zone_wakeup(ctx: BtfTracePointContext) -> i32 {
    if active() {
        let pid = Task::argument(&ctx, 0).pid();
        // A task can wake itself before it sleeps: then it runs, and its next switch away corrects the note.
        of(pid, |note| note.waiting_since = Stamp::new(pid, now()));
    }
    0
}

/// Argument: the task that was made.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub(crate) fn zone_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    if active() {
        let pid = Task::argument(&ctx, 0).pid();
        of(pid, |note| {
            note.waiting_since = Stamp::new(pid, now());
            // It has not run yet; a stamp of 0 would say that nothing is known.
            note.charged = Stamp::new(pid, 1);
        });
    }
    0
}

/// Nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no demand.
    unsafe { bpf_ktime_get_ns() }
}

/// Reads or writes the note of a task.
#[inline(always)]
pub(crate) fn of<R>(pid: u32, then: impl FnOnce(&mut TaskNote) -> R) -> Option<R> {
    let note = ALL.get_ptr_mut(TaskNote::index(pid))?;
    // SAFETY: valid until the program ends. Each word is read and written whole, and only by the CPU that switches or
    // wakes the task, one at a time by the scheduler's locks.
    Some(then(unsafe { &mut *note }))
}
