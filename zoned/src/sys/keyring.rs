//! Kernel key rings.

use std::io;

use super::check;

/// Gives this process a new, empty session key ring (keyctl(2) KEYCTL_JOIN_SESSION_KEYRING without a name), so
/// that no key of the host's is possessed by what it runs.
pub fn new_session() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous ring; no other memory is involved.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) })?;
    Ok(())
}
