//! fork and clone3.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::check;

/// Linux 5.7; the constant of the libc crate does not fit its own type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The one that forked.
    Parent {
        /// The child, in this process' pid namespace.
        pid: i32,
        /// The child.
        pidfd: OwnedFd,
    },
}

/// How to clone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clone3<'fd> {
    /// CLONE_NEW… flags.
    pub namespaces: u64,
    /// The child is a child of this process' parent (CLONE_PARENT), not of this process.
    pub for_parent: bool,
    /// The cgroup2 folder to be born in.
    pub cgroup: Option<BorrowedFd<'fd>>,
}

/// clone3(2) without a new stack: a fork into new namespaces, another parent's care or another cgroup.
///
/// Only for single-threaded processes: the child has a copy of this thread alone, and whatever lock another
/// thread held would stay locked in it.
pub fn clone3(how: Clone3<'_>) -> io::Result<Forked> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain data for which all zeros means "nothing asked".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = how.namespaces | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    if how.for_parent {
        // The exit signal is then that of the caller's own leader; another one is EINVAL.
        args.flags |= libc::CLONE_PARENT as u64;
    } else {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = how.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM and no stack are given, so the child runs on a copy of this memory; the pointer to
    // pidfd is valid for the call.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the kernel has just put this descriptor there and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent { pid: pid as i32, pidfd })
}
