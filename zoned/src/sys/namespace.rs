//! Entering and leaving namespaces. For single-threaded processes: setns(2) into a user, mount or time
//! namespace is refused to others.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::check;

/// setns(2) into several namespaces of the process behind `pidfd` at once: all or none (Linux 5.8).
pub fn enter(pidfd: BorrowedFd<'_>, namespaces: libc::c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), namespaces) }.into())?;
    Ok(())
}

/// unshare(2).
pub fn unshare(namespaces: libc::c_int) -> io::Result<()> {
    // SAFETY: takes a number only; no CLONE_FILES or CLONE_FS is passed that other code could rely on.
    check(unsafe { libc::unshare(namespaces) }.into())?;
    Ok(())
}

/// setns(2) of the calling thread into the namespace behind `namespace`, which must be of this kind.
pub fn enter_one(namespace: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) }.into())?;
    Ok(())
}
