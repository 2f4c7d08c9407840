//! Signal dispositions.

use nix::sys::signal::{SigHandler, Signal, signal};

/// Gives a signal its default effect.
pub fn default_disposition(which: Signal) -> nix::Result<()> {
    // SAFETY: SIG_DFL installs no handler.
    unsafe { signal(which, SigHandler::SigDfl) }.map(drop)
}

/// pidfd_send_signal(2) by number, real-time signals included; the kernel refuses what is none.
pub fn send(process: std::os::fd::BorrowedFd<'_>, signal: i32) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: a null siginfo asks for what kill(2) would send; the rest are numbers.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<()>(), 0)
    };
    super::check(sent).map(drop)
}
