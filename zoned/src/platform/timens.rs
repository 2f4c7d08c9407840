//! The zone's own monotonic and boot clocks, which begin at its boot.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::{At, Failure};
use crate::sys::namespace::unshare;

/// Gives the children of this process a time namespace in which both clocks are now zero.
///
/// Offsets can be written only before the first process enters (time_namespaces(7)): a namespace made by
/// clone3(CLONE_NEWTIME) keeps the host's.
pub fn for_children() -> Result<(), Failure> {
    unshare(libc::CLONE_NEWTIME).at("make", "a time namespace")?;
    let mut offsets = String::new();
    for (name, clock) in [("monotonic", ClockId::Monotonic), ("boottime", ClockId::Boottime)] {
        let now = clock_gettime(clock);
        // The nanoseconds of an offset count upwards, whatever the sign of its seconds.
        let (seconds, nanos) = match now.tv_nsec {
            0 => (-now.tv_sec, 0),
            n => (-now.tv_sec - 1, 1_000_000_000 - n),
        };
        offsets.push_str(&format!("{name} {seconds} {nanos}\n"));
    }
    fs::write("/proc/self/timens_offsets", offsets).at("write", "/proc/self/timens_offsets")
}
