//! What a zone takes.

use crate::Identity;

/// Number of buckets of [`Figures::wait_log2_us`].
pub const WAIT_BUCKETS: usize = 26;

/// What one zone has taken on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whose: figures of another generation than the slot's are of a zone that is gone.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
    /// CPU time, nanoseconds: the scheduler's own figure (`se.sum_exec_runtime`), which cgroups are charged too.
    pub usage_ns: u64,
    /// Times a task gave up the CPU by itself.
    pub switches_voluntary: u64,
    /// Times a task was taken off the CPU while it could still run.
    pub switches_preempted: u64,
    /// Time tasks waited in a run queue, nanoseconds.
    pub wait_ns: u64,
    /// Processes (not threads) that were forked.
    pub forks: u64,
    /// Programs that were executed.
    pub execs: u64,
    /// Processes (not threads) that ended.
    pub exits: u64,
    /// Waits by length: see [`wait_bucket`].
    pub wait_log2_us: [u64; WAIT_BUCKETS],
}

impl Figures {
    /// Figures that begin now.
    pub const fn begin(generation: u32) -> Self {
        Figures {
            generation,
            reserved: 0,
            usage_ns: 0,
            switches_voluntary: 0,
            switches_preempted: 0,
            wait_ns: 0,
            forks: 0,
            execs: 0,
            exits: 0,
            wait_log2_us: [0; WAIT_BUCKETS],
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.usage_ns += other.usage_ns;
        self.switches_voluntary += other.switches_voluntary;
        self.switches_preempted += other.switches_preempted;
        self.wait_ns += other.wait_ns;
        self.forks += other.forks;
        self.execs += other.execs;
        self.exits += other.exits;
        for (sum, count) in self.wait_log2_us.iter_mut().zip(&other.wait_log2_us) {
            *sum += count;
        }
    }
}

/// What runs on a CPU, from the switch to it until the switch away from it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The task's `se.sum_exec_runtime` up to which it has been charged, nanoseconds.
    pub charged_ns: u64,
    /// How long it waited before it got the CPU, not charged yet, nanoseconds; 0 if unknown or charged.
    pub wait_ns: u64,
    /// The task; 0 if none or unknown.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Id of the last cgroup at the zones' depth that was charged on this CPU and was a zone's.
    pub cgroup_id: u64,
    /// That zone.
    pub zone: Identity,
}

/// Index into [`Figures::wait_log2_us`]: `i` for a wait of [2^i, 2^(i+1)) microseconds; 0 also for shorter ones,
/// the last also for longer ones.
#[inline(always)]
pub fn wait_bucket(wait_ns: u64) -> usize {
    // A binary search for the highest i with wait_ns >= 1000 << i: eBPF has neither a count of leading zeros nor a
    // cheap division.
    let mut rest = wait_ns;
    let mut bucket = 0;
    let mut step = 16;
    while step > 0 {
        if rest >> step >= 1000 {
            rest >>= step;
            bucket += step;
        }
        step >>= 1;
    }
    if bucket < WAIT_BUCKETS { bucket } else { WAIT_BUCKETS - 1 }
}

// SAFETY: repr(C), integers only, no padding; every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Figures {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Running {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_powers_of_two_of_microseconds() {
        for (wait_ns, bucket) in [
            (0, 0),
            (999, 0),
            (1_000, 0),
            (1_999, 0),
            (2_000, 1),
            (3_999, 1),
            (4_000, 2),
            (1_024_000, 10),
            (2_047_999, 10),
            (u64::MAX, 25),
        ] {
            assert_eq!(wait_bucket(wait_ns), bucket, "{wait_ns} ns");
        }
        for i in 1..WAIT_BUCKETS {
            assert_eq!(wait_bucket((1000 << i) - 1), i - 1);
            assert_eq!(wait_bucket(1000 << i), i);
        }
    }

    #[test]
    fn figures_add_up_field_by_field() {
        let mut sum = Figures::begin(7);
        let one = Figures { usage_ns: 5, forks: 2, wait_log2_us: [3; WAIT_BUCKETS], ..Figures::begin(1) };
        sum.add(&one);
        sum.add(&one);
        assert_eq!((sum.generation, sum.usage_ns, sum.forks), (7, 10, 4));
        assert_eq!(sum.wait_log2_us, [6; WAIT_BUCKETS]);
    }
}
