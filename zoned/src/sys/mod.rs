//! All unsafe code of this crate: system calls that no crate wraps, each with the rule that makes it sound.

pub mod bpf;
pub mod clone;
pub mod files;
pub mod identity;
pub mod keyring;
pub mod limits;
pub mod loop_device;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod readiness;
pub mod seccomp;
pub mod signals;
pub mod title;
pub mod tty;

use std::io;

/// The result of a raw system call as Rust has it.
pub(crate) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Ends this process without running anything of it: for children of a fork, whose copy of the parent's state
/// (buffers, temporary folders) is not theirs to flush or remove.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) never returns and touches no memory.
    unsafe { libc::_exit(code) }
}
