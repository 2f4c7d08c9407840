//! Resource limits by number.

use std::io;

use super::check;

/// setrlimit(2) for this process; u64::MAX is no limit.
pub fn set(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: reads one rlimit64, which is valid for the call; pid 0 is this process.
    check(unsafe { libc::prlimit64(0, resource as _, &raw const limit, std::ptr::null_mut()) }.into())?;
    Ok(())
}
