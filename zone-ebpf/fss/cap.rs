//! Caps.
//!
//! A capped zone has a budget of CPU time that fills at the rate of its cap. With nothing left it is throttled: out of the
//! tree until there is some again. A timer looks after that, since a machine of throttled zones alone may have no CPU that
//! is awake.

use aya_ebpf::{
    bindings::bpf_timer,
    btf_maps::Array,
    cty::c_void,
    helpers::{bpf_loop, bpf_timer_init, bpf_timer_set_callback, bpf_timer_start},
    macros::btf_map,
};
use zone_ebpf_abi::{
    MAX_SLOTS,
    fss::{FssTask, NOBODY, filled},
};

use crate::{
    atomic,
    count::{self, Count},
    host, inner,
    kernel::{self, Task},
    tree::Tree,
    zone::Zone,
};

/// How often budgets are looked at, nanoseconds.
const TICK: u64 = 4_000_000;
/// The same while no zone has a cap, for what else is looked at.
const CALM: u64 = 100_000_000;

#[repr(C)]
struct Clock {
    timer: bpf_timer,
    /// [`host::changes`] that have been looked at.
    changes: u64,
}

#[btf_map(name = "fss_clock")]
static CLOCK: Array<Clock, 1> = Array::new();

/// Zones that are throttled.
#[btf_map(name = "fss_throttled")]
static THROTTLED: Count = Count::new();

/// Zones that have a cap.
#[btf_map(name = "fss_capped")]
static CAPPED: Count = Count::new();

/// Begins to look after budgets. -EINVAL and the like as the kernel has them.
#[inline(always)]
pub(crate) fn start() -> i32 {
    let Some(clock) = CLOCK.get_ptr_mut(0) else { return -1 };
    /// `CLOCK_MONOTONIC`.
    const MONOTONIC: u64 = 1;
    // SAFETY: the timer is of a map value, and of that map.
    unsafe {
        let timer = &raw mut (*clock).timer;
        let map = (&raw const CLOCK).cast_mut().cast();
        let made = bpf_timer_init(timer, map, MONOTONIC);
        if made != 0 {
            return made as i32;
        }
        let told = bpf_timer_set_callback(timer, tick as *mut c_void);
        if told != 0 {
            return told as i32;
        }
        bpf_timer_start(timer, TICK, 0) as i32
    }
}

/// Called by the timer.
#[unsafe(no_mangle)]
extern "C" fn tick(_map: *mut c_void, _key: *mut u32, clock: *mut Clock) -> i32 {
    // SAFETY: of a map value; the function is one that the helper can call; it is the timer that called this one.
    unsafe {
        if count::read(&THROTTLED) != 0 {
            bpf_loop(MAX_SLOTS, look_after as *mut c_void, core::ptr::null_mut(), 0);
        }
        host::weigh();
        let changes = u64::from(host::changes());
        if (*clock).changes != changes {
            (*clock).changes = changes;
            bpf_loop(MAX_SLOTS, look_at_own as *mut c_void, core::ptr::null_mut(), 0);
            kernel::kick_all_idle();
        }
        bpf_timer_start(&raw mut (*clock).timer, if count::read(&CAPPED) == 0 { CALM } else { TICK }, 0);
    }
    0
}

/// Writes a zone's cap.
#[inline(always)]
pub(crate) fn write(zone: Zone, cap: u64, burst_ns: u64) {
    // SAFETY: of a map value, word by word.
    unsafe {
        let before = atomic::swap(&raw mut (*zone.at).cap, cap);
        if (before == 0) != (cap == 0) {
            count::change_in(&CAPPED, cap != 0);
        }
        (&raw mut (*zone.at).burst_ns).write_volatile(burst_ns);
        (&raw mut (*zone.at).budget_ns).write_volatile(burst_ns as i64);
        (&raw mut (*zone.at).filled_ns).write_volatile(kernel::now());
    }
}

/// Called for each slot; 0 to go on.
#[unsafe(no_mangle)]
extern "C" fn look_after(slot: u32, _: *mut c_void) -> i64 {
    look(slot);
    0
}

/// Called for each slot; 0 to go on.
#[unsafe(no_mangle)]
extern "C" fn look_at_own(slot: u32, _: *mut c_void) -> i64 {
    if let (Some(zone), Some(tree)) = (Zone::of_slot(slot), Tree::get()) {
        zone.look_at_own(tree);
    }
    0
}

#[inline(always)]
fn look(slot: u32) -> Option<()> {
    let zone = Zone::of_slot(slot)?;
    if zone.throttled() != 0 {
        fill(zone, kernel::now());
        if zone.cap() == 0 || zone.budget_ns() > 0 {
            release(zone);
        }
    }
    Some(())
}

/// One zone more or less is throttled, if it was not or was.
#[inline(always)]
pub(crate) fn throttle(zone: Zone, yes: bool) -> bool {
    // SAFETY: of a map value.
    let changed = atomic::swap32(unsafe { &raw mut (*zone.at).throttled }, yes.into()) != u32::from(yes);
    if changed {
        count::change_in(&THROTTLED, yes);
    }
    changed
}

#[inline(always)]
fn fill(zone: Zone, now: u64) {
    let since = zone.filled_ns();
    let elapsed = now.wrapping_sub(since);
    // SAFETY: of a map value.
    unsafe {
        if (elapsed as i64) > 0 && atomic::replace(&raw mut (*zone.at).filled_ns, since, now) {
            let budget = zone.budget_ns();
            let more = filled(budget, elapsed, zone.cap(), zone.burst_ns()).wrapping_sub(budget);
            atomic::add((&raw mut (*zone.at).budget_ns).cast(), more as u64);
        }
    }
}

/// A zone has had that much of its budget.
#[inline(always)]
pub(crate) fn charge(zone: Zone, ns: u64) {
    // SAFETY: of a map value.
    unsafe { atomic::add((&raw mut (*zone.at).budget_ns).cast(), ns.wrapping_neg()) };
    fill(zone, kernel::now());
    if zone.budget_ns() <= 0 && zone.throttled() == 0 && throttle(zone, true) {
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*zone.at).throttles, 1) };
    }
}

/// Charges the zone of a task that is about to go on with what it has had so far.
#[inline(always)]
pub(crate) fn settle(zone: Zone, task: Task, kept: &mut FssTask) {
    let now_ns = task.exec_ns();
    let had = now_ns.wrapping_sub(kept.since_ns);
    kept.since_ns = now_ns;
    inner::pass(task, kept, had);
    zone.charge(had, kept.promised);
    kept.promised = 0;
}

#[inline(always)]
fn release(zone: Zone) {
    throttle(zone, false);
    if let Some(tree) = Tree::get() {
        zone.refresh(tree);
        if tree.key(zone.slot) != NOBODY || zone.bound() != 0 {
            kernel::kick_all_idle();
        }
    }
}

/// A zone's cap is another now.
#[inline(always)]
pub(crate) fn set(zone: Zone, cap: u64, burst_ns: u64) {
    write(zone, cap, burst_ns);
    if zone.throttled() != 0 {
        release(zone);
    }
    if cap != 0
        && let Some(clock) = CLOCK.get_ptr_mut(0)
    {
        // SAFETY: of a map value, and begun by `start`.
        unsafe { bpf_timer_start(&raw mut (*clock).timer, TICK, 0) };
    }
}
