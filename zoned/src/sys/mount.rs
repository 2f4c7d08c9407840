//! mount_setattr(2).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::check;

/// What to change of a mount that is not attached yet, or of the mount a descriptor stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'fd> {
    /// MOUNT_ATTR_… to set.
    pub set: u64,
    /// User namespace whose map shifts the ids (MOUNT_ATTR_IDMAP; once a mount, Linux 5.12).
    pub idmap: Option<BorrowedFd<'fd>>,
    /// The mounts below it as well.
    pub recursive: bool,
}

/// mount_setattr(2) on the mount at `fd` itself.
pub fn set_attributes(fd: BorrowedFd<'_>, change: Attributes<'_>) -> io::Result<()> {
    // SAFETY: mount_attr is plain data for which all zeros means "no change".
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = change.set;
    if let Some(userns) = change.idmap {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attr.userns_fd = userns.as_raw_fd() as u64;
    }
    let recursive = if change.recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::AT_EMPTY_PATH | recursive;
    // SAFETY: the path is a NUL-terminated literal, attr is valid for its size, and the descriptors are open.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}
