//! Processes that come and go.

use crate::COMM_BYTES;

/// What a process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// It forked.
    Fork = 1,
    /// It executed a program.
    Exec = 2,
    /// It ended.
    Exit = 3,
}

/// One thing that a process of a zone did.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// The zone, by the id of its cgroup: unlike a slot it is never given again, however late this is read.
    pub cgroup_id: u64,
    /// When, nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// One of [`EventKind`].
    pub kind: u32,
    /// The process, in the host's numbering.
    pub pid: u32,
    /// Of a fork the child, in the host's numbering; of an exit the status as wait(2) has it; else 0.
    pub detail: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of its program, padded with NULs. Any bytes: the zone chooses it.
    pub comm: [u8; COMM_BYTES],
}

/// Process events that found the ring buffer full, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// When that was logged last, nanoseconds of the monotonic clock.
    pub warned_ns: u64,
}

// SAFETY: repr(C), integers only, no padding; every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ProcessEvent {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Lost {}
