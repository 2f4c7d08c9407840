//! Descriptors as numbers.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use super::check;

/// Closes every descriptor above stderr but those kept (close_range(2), Linux 5.9).
///
/// For the child of a fork that goes on with nothing of its parent's: whatever else in this process' memory owns
/// a descriptor must never be used or dropped again.
pub fn close_all_but(kept: &[&OwnedFd]) -> io::Result<()> {
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.push(u32::MAX);
    numbers.sort_unstable();
    let mut from = 3;
    for number in numbers {
        if number > from {
            let last = if number == u32::MAX { u32::MAX } else { number - 1 };
            // SAFETY: takes numbers only; that nobody uses the closed ones again is the caller's promise.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) })?;
        }
        from = number.saturating_add(1).max(from);
    }
    Ok(())
}
