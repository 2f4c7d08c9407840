//! Waiting for a descriptor with tokio.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Makes tokio watch a descriptor. Must be called inside a runtime.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open, and the same, until it is dropped; the AsyncFd owns it, and gives out nothing
    // by which it could be exchanged, since callers keep it unmutable behind an Arc or a temporary.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(|e| e.into_parts().1)
}

/// A second descriptor of the same open file, close-on-exec, of something that lends none.
pub fn duplicate(of: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: `of` is borrowed, so what it holds open stays open during the call.
    let fd = unsafe { BorrowedFd::borrow_raw(of.as_raw_fd()) };
    fd.try_clone_to_owned()
}
