//! Ids of this thread.

use std::io;

use super::check;

/// setfsuid(2) and setfsgid(2), verified: both answer the old id whether they worked or not.
///
/// While they differ from the ids of the process, files are made and judged with them. The capabilities that
/// go with file access are kept only under SECBIT_NO_SETUID_FIXUP.
pub fn set_fs_ids(uid: u32, gid: u32) -> io::Result<()> {
    let ask = u32::MAX;
    // SAFETY: take numbers only; -1 is never valid and so only asks.
    let now = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (libc::setfsuid(ask), libc::setfsgid(ask))
    };
    if now != (uid as i32, gid as i32) { Err(io::Error::from_raw_os_error(libc::EPERM)) } else { Ok(()) }
}

/// personality(2).
pub fn set_personality(persona: u64) -> io::Result<()> {
    // SAFETY: takes a number only.
    check(unsafe { libc::personality(persona) }.into())?;
    Ok(())
}
