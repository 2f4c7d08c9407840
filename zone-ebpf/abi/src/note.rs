//! What is remembered of a task between its slices of CPU.

/// Number of notes: one for each value of the low 16 bits of a pid.
pub const NOTES: u32 = 1 << 16;

/// Bits of a pid above those that index the notes: pids have at most 22 bits (`PID_MAX_LIMIT`).
const TAG_BITS: u32 = 6;
const TAG: u64 = (1 << TAG_BITS) - 1;

/// A number of nanoseconds (58 bits: nine years) and whose it is, in one word that is written whole: the bits of the
/// task's pid that do not index the array.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    /// Nothing is known.
    pub const NONE: Stamp = Stamp(0);

    /// Of that task, so many nanoseconds, which are not zero.
    #[inline(always)]
    pub const fn new(pid: u32, ns: u64) -> Self {
        Stamp(ns << TAG_BITS | (pid >> 16) as u64 & TAG)
    }

    /// The nanoseconds, if they are known and of that task.
    #[inline(always)]
    pub const fn of(self, pid: u32) -> Option<u64> {
        let known = self.0 >> TAG_BITS != 0 && self.0 & TAG == (pid >> 16) as u64 & TAG;
        if known { Some(self.0 >> TAG_BITS) } else { None }
    }
}

/// What is remembered of a task. Two tasks whose pids are a multiple of [`NOTES`] apart share one: then the other's
/// is not taken for one's own, and something remains unknown.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskNote {
    /// Since when it could run and does not, by the monotonic clock; unknown while it runs or sleeps.
    pub waiting_since: Stamp,
    /// Its `se.sum_exec_runtime` up to which it has been charged.
    pub charged: Stamp,
}

impl TaskNote {
    /// Where the note of a task is kept.
    #[inline(always)]
    pub const fn index(pid: u32) -> u32 {
        pid & (NOTES - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_of_one_task() {
        let (pid, other) = (0x2_1234, 0x3_1234);
        assert_eq!(TaskNote::index(pid), TaskNote::index(other));
        let stamp = Stamp::new(pid, 1_000);
        assert_eq!(stamp.of(pid), Some(1_000));
        assert_eq!(stamp.of(other), None);
        assert_eq!(Stamp::NONE.of(0x1234), None);
        assert_eq!(Stamp::new(u32::MAX >> 10, (1 << 58) - 1).of(u32::MAX >> 10), Some((1 << 58) - 1));
    }
}
