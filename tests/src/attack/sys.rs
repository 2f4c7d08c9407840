//! The unsafe part: any system call by number, and fork.

use nix::{
    errno::Errno,
    unistd::{ForkResult, Pid},
};

/// Makes a system call.
pub(crate) fn call(number: i64, args: [u64; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: whoever writes a script means what it says. Pointers in it are to buffers of its own that are larger
    // than what the calls of the tests fill, and live as long as the process; one that ruins its own memory
    // ruins a process that exists for this script alone.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// fork(2); none in the child.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: this program has one thread.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}
