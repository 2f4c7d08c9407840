//! The fair-share scheduler: what it keeps of zones, tasks and CPUs, and the arithmetic of its virtual time.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) with zones as flows and slices of CPU as packets. A zone's virtual
//! time is the service it has had, each nanosecond worth `VIRTUAL / weight`; who has the least of it is served next. The
//! system's virtual time is the start of the service that was begun last.

/// What one nanosecond counts for a zone of weight 1.
pub const VIRTUAL: u64 = 1024;

/// Weight of a zone, or of the host, that nobody gave one.
pub const DEFAULT_WEIGHT: u32 = 100;

/// Highest number of a CPU, and one.
pub const MAX_CPUS: u32 = 1024;

/// Groups whose weight and cap are known.
pub const MAX_GROUPS: u32 = 65_536;

/// Groups inside of one zone whose weights count. Tasks of others count as if they were in none.
pub const MAX_INNER: u32 = 1024;

/// Share of a task that is in no group of its zone's, in [`within`].
pub const WHOLE: u64 = 1 << 20;

/// Share of what is in a group whose parent's is `share`: `weight` is the group's own, `active` the sum of weights in it.
///
/// A task of its zone's own group has [`WHOLE`] of a task. One of a group has as much of that group's weight as it is of all
/// that is ready to run there: so groups divide the zone's CPU time by their weights, however many tasks they have.
#[inline(always)]
pub const fn within(share: u64, weight: u32, active: u64) -> u64 {
    let active = if active == 0 { 1 } else { active };
    // SAFETY: it was made 1 just now; the compiler would call for a panic.
    unsafe { core::hint::assert_unchecked(active != 0) };
    let share = share * weight as u64 / active;
    // Beyond these there is nothing to tell apart, and products do not overflow.
    if share < WHOLE >> 14 {
        WHOLE >> 14
    } else if share > WHOLE << 12 {
        WHOLE << 12
    } else {
        share
    }
}

/// Virtual time, inside of its zone, of a task of that weight and share that had so many nanoseconds of service.
#[inline(always)]
pub const fn passed(ns: u64, weight: u32, share: u64) -> u64 {
    let ns = if ns > 1 << 32 { 1 << 32 } else { ns };
    let share = if share == 0 { WHOLE } else { share };
    // SAFETY: as above.
    unsafe { core::hint::assert_unchecked(share != 0) };
    (weighted(ns, weight) << 20) / share
}

/// A zone as the scheduler knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FssZone {
    /// [`crate::Slot::generation`] that the rest is of.
    pub generation: u32,
    /// Its shares; 0: served only when nobody else wants the CPU.
    pub weight: u32,
    /// Virtual time: service it has had or been promised.
    pub virtual_ns: u64,
    /// Tasks that wait in its queue.
    pub queued: u32,
    /// Tasks that wait in the queue of the one CPU or the few that they may use.
    pub bound: u32,
    /// Tasks that run.
    pub running: u32,
    /// 1 while it has used up its cap.
    pub throttled: u32,
    /// CPU time it may take in 1024 ns; 0: no cap.
    pub cap: u64,
    /// CPU time it may take at once under its cap, nanoseconds.
    pub burst_ns: u64,
    /// CPU time it may take still, nanoseconds. Below zero where a slice was longer.
    pub budget_ns: i64,
    /// Until when the budget has been filled up, by the monotonic clock.
    pub filled_ns: u64,
    /// Least virtual time of the tasks that were last served.
    pub task_virtual_ns: u64,
    /// CPU time it has had from this scheduler, nanoseconds.
    pub usage_ns: u64,
    /// Times it was throttled.
    pub throttles: u64,
    /// Tasks that were run out of turn, so that none waits for ever.
    pub rescues: u64,
    /// When one of them last had a slice for it, by the monotonic clock.
    pub rescued_ns: u64,
    /// CPUs that it had for itself when that was last looked at.
    pub dedicated: u32,
    /// Zero.
    pub reserved: u32,
}

/// A task as the scheduler knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FssTask {
    /// Id of the cgroup that `slot` was found by.
    pub cgroup_id: u64,
    /// [`crate::Identity`] of its zone.
    pub slot: u32,
    /// As above.
    pub generation: u32,
    /// Virtual time inside of its zone.
    pub virtual_ns: u64,
    /// Its `se.sum_exec_runtime` when it was given the CPU.
    pub since_ns: u64,
    /// Virtual time that its zone was charged for this turn in advance.
    pub promised: u64,
    /// 1 + slot of the zone in whose queue it waits; 0 if in none.
    pub queued_in: u32,
    /// The same for the queue of a CPU.
    pub bound_in: u32,
    /// 1 + slot of the zone that it runs for; 0 if it does not.
    pub runs_for: u32,
    /// Its weight in the group that it is counted in while it is ready to run.
    pub weighs: u32,
    /// Id of the group that its CPU time is shared out by, below a zone's own; 0: none is.
    pub group: u64,
    /// 1 while it is counted in that group.
    pub counted: u64,
}

/// What runs on a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FssCpu {
    /// 1 + slot of the zone; 0 for nothing.
    pub runs: u32,
    /// Not 0 if the next one is run out of turn: 1 until the next tick, 2 to be preempted at once.
    pub rescue: u32,
    /// Virtual time that has come in turn here: what zones are measured by whose tasks may run nowhere else.
    pub virtual_ns: u64,
    /// Virtual time of the task in its zone when it was given the CPU.
    pub task_virtual_ns: u64,
    /// Virtual time that a zone was charged in advance for a task of its that this CPU has taken and not begun yet.
    pub promised: u64,
    /// 1 + slot of that zone; 0: there is none.
    pub promised_to: u32,
    /// 1 while it is offline.
    pub gone: u32,
    /// When this CPU last looked for tasks that nobody serves, by the monotonic clock.
    pub swept_ns: u64,
    /// The slot whose queue it looks at next.
    pub sweep: u32,
    /// The CPU whose queue it looks at next.
    pub sweep_cpu: u32,
    /// 1 if it is a CPU's queue that it looks at next.
    pub sweeps_cpus: u32,
    /// 1 if it has found one there.
    pub found: u32,
}

/// What user space says of a slot: how many CPUs the zone in it has for itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FssOwned {
    /// [`crate::Slot::generation`] of the zone; it says nothing of another.
    pub generation: u32,
    /// Number of CPUs; 0: it shares.
    pub cpus: u32,
}

/// What the kernel says of a cgroup with a cpu controller, and what of it is ready to run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FssGroup {
    /// Id of the group it is in; 0 for the root.
    pub parent: u64,
    /// Depth below the root.
    pub level: u32,
    /// Groups inside of it that are known, where it is a zone's own.
    pub inner: u32,
    /// Weights of what is ready to run in it: tasks, and groups that have some.
    pub active: u64,
    /// What its parent counts of that: its own weight, or 0 if nothing is.
    pub counted: u64,
    /// `cpu.weight`.
    pub weight: u32,
    /// 1 under `cpu.idle`.
    pub idle: u32,
    /// [`FssZone::cap`].
    pub cap: u64,
    /// [`FssZone::burst_ns`].
    pub burst_ns: u64,
}

/// Which zone is to be served next: a tournament of all slots. Nodes are numbered as in a heap, the root is 1; a leaf is a
/// slot.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FssTree {
    /// Of each slot: [`key`], or [`NOBODY`].
    pub keys: [u64; crate::MAX_SLOTS as usize],
    /// Of each inner node the slot below it that is to be served first.
    pub winners: [u32; crate::MAX_SLOTS as usize],
}

/// What user space says of the host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FssHost {
    /// Shares of the host's own processes; 0: nobody said, they have [`DEFAULT_WEIGHT`].
    pub weight: u32,
    /// CPUs that zones have for themselves.
    pub taken: u32,
    /// Last level caches that there are; below 2 nobody asks whose is whose.
    pub caches: u32,
    /// Counts on with each change of what zones have for themselves.
    pub changes: u32,
}

/// What the scheduler said when it ended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FssExit {
    /// `enum scx_exit_kind`; 0: it has not ended.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// Code that came with it.
    pub code: i64,
    /// Why, in the kernel's words.
    pub reason: [u8; 64],
    /// In more words.
    pub message: [u8; 256],
}

// SAFETY: repr(C), integers only, no padding; every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FssZone {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FssHost {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FssOwned {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FssExit {}

/// Key of a slot that has nothing to run, after all others.
pub const NOBODY: u64 = u64::MAX;

/// Bit of a key: comes after all that have it not.
const IDLE: u64 = 1 << 63;

/// What zones are served by, the least first: those without shares after all others.
#[inline(always)]
pub const fn key(virtual_ns: u64, weight: u32) -> u64 {
    let time = virtual_ns & (IDLE - 1);
    // One of the last class never looks like nobody.
    if weight == 0 { IDLE | time & !1 } else { time }
}

/// Where a task that waits for one CPU stands in that CPU's queue, which the kernel orders by signed differences: behind as
/// many slices of its zone as there are of its zone's tasks before it, and behind all others if its zone has no shares.
/// `now` is the virtual time there. A zone that has had much more elsewhere comes some slices after it, not never.
#[inline(always)]
pub const fn place(zone: u64, weight: u32, before: u32, slice: u64, now: u64) -> u64 {
    let behind = weighted(slice, weight).wrapping_mul(before as u64);
    if weight == 0 {
        return now.wrapping_add(1 << 62).wrapping_add(behind);
    }
    earlier(zone, now.wrapping_add(weighted(AHEAD, weight))).wrapping_add(behind)
}

/// How much service a zone may be ahead of what competes with it, nanoseconds, without having to wait for all of it.
pub const AHEAD: u64 = 28_000_000;

/// Whether the first key is served before the second. Virtual time may wrap around: what matters is which is less than half
/// the circle ahead.
#[inline(always)]
pub const fn before(a: u64, b: u64) -> bool {
    if b == NOBODY || a == NOBODY {
        return a != NOBODY && b == NOBODY;
    }
    if (a ^ b) & IDLE != 0 {
        return a & IDLE == 0;
    }
    (((a << 1).wrapping_sub(b << 1)) as i64) < 0
}

/// Whether a key is of a zone without shares.
#[inline(always)]
pub const fn is_idle(key: u64) -> bool {
    key & IDLE != 0
}

/// The later of two virtual times.
#[inline(always)]
pub const fn later(a: u64, b: u64) -> u64 {
    if (a.wrapping_sub(b) as i64) < 0 { b } else { a }
}

/// The earlier of two virtual times.
#[inline(always)]
pub const fn earlier(a: u64, b: u64) -> u64 {
    if (a.wrapping_sub(b) as i64) < 0 { a } else { b }
}

/// Virtual time of so many nanoseconds of service.
#[inline(always)]
pub const fn weighted(ns: u64, weight: u32) -> u64 {
    let weight = if weight == 0 { 1 } else { weight as u64 };
    // The compiler cannot know that this is no division by zero, and would call for a panic.
    // SAFETY: it was made 1 just now.
    unsafe { core::hint::assert_unchecked(weight != 0) };
    ns.wrapping_mul(VIRTUAL) / weight
}

/// Budget of a capped zone after so many nanoseconds more.
#[inline(always)]
pub const fn filled(budget_ns: i64, elapsed_ns: u64, cap: u64, burst_ns: u64) -> i64 {
    // After a minute it is full whatever the cap; the product does not overflow.
    let elapsed = if elapsed_ns > 60_000_000_000 { 60_000_000_000 } else { elapsed_ns };
    let budget = budget_ns + ((elapsed * cap) >> 10) as i64;
    if budget > burst_ns as i64 { burst_ns as i64 } else { budget }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_first_also_where_time_wraps() {
        assert!(before(key(1, 100), key(2, 100)));
        assert!(!before(key(2, 100), key(2, 100)));
        assert!(before(key(u64::MAX >> 1, 1), key(5, 1)), "5 comes after the wrap");
        assert!(!before(key(5, 1), key(u64::MAX >> 1, 1)));
    }

    #[test]
    fn those_without_shares_are_last_and_nobody_is_after_them() {
        assert!(before(key(u64::MAX / 4, 1), key(0, 0)));
        assert!(before(key(u64::MAX, 0), NOBODY) && !before(NOBODY, key(u64::MAX, 0)));
        assert!(before(key(7, 1), NOBODY) && !before(NOBODY, NOBODY));
        assert!(is_idle(key(9, 0)) && !is_idle(key(9, 1)));
    }

    #[test]
    fn service_counts_by_weight() {
        assert_eq!(weighted(1_000, 1), 1_000 * VIRTUAL);
        assert_eq!(weighted(4_000, 400), weighted(1_000, 100));
        assert_eq!(weighted(1_000, 0), 1_000 * VIRTUAL, "no shares are no division by zero");
        assert_eq!(later(3, u64::MAX - 3), 3, "after the wrap");
    }

    #[test]
    fn groups_divide_by_weight_however_many_tasks_they_have() {
        let service = |weight, tasks: u64| passed(1_000_000, 100, within(WHOLE, weight, 100 * tasks));
        assert_eq!(service(100, 1), weighted(1_000_000, 100), "one task in a group is as one in none");
        assert_eq!(service(100, 4), 4 * service(100, 1));
        let apart = service(100, 2).abs_diff(3 * service(300, 2));
        assert!(apart * 10_000 < service(100, 2), "{apart}");
        let deep = within(within(WHOLE, 200, 400), 100, 100);
        assert_eq!(deep, WHOLE / 2, "a group in a group that is not alone");
    }

    #[test]
    fn no_weight_makes_a_share_that_overflows() {
        let least = (0..8).fold(WHOLE, |share, _| within(share, 1, u64::from(u32::MAX)));
        let most = (0..8).fold(WHOLE, |share, _| within(share, 10_000, 1));
        assert!(passed(u64::MAX, 1, least) > passed(1, 10_000, most));
        assert!(passed(1 << 32, 1, least) >= passed(1 << 31, 1, least));
    }

    #[test]
    fn a_budget_fills_at_its_rate_up_to_its_burst() {
        let half = 512;
        assert_eq!(filled(0, 1_000_000, half, 10_000_000), 500_000);
        assert_eq!(
            filled(-200_000, 1_000_000, half, 10_000_000),
            300_000,
            "what was overdrawn is paid first"
        );
        assert_eq!(filled(0, u64::MAX, half, 10_000_000), 10_000_000);
    }
}
