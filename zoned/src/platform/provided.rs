//! What the host puts into a zone's root, in the helper mount namespace.
//!
//! It must all be attached before the zone's own user and mount namespaces exist: the zone's copy of these
//! mounts is then locked, and its root can neither take them off nor remount them writable. A mount moved in
//! later could be remounted writable by the zone, down to the host's own files.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2},
    mount::MountAttrFlags,
};

use super::{
    At, Failure, devices,
    paths::{ensure_dir, ensure_file, ensure_text},
    rootfs::{attach, shifted_at},
};
use crate::plan::{IdRange, MountFlags, Provided};

/// Attributes of a mount as the kernel has them.
pub fn attributes(flags: MountFlags) -> MountAttrFlags {
    let mut bits = MountAttrFlags::empty();
    bits.set(MountAttrFlags::MOUNT_ATTR_RDONLY, flags.ro);
    bits.set(MountAttrFlags::MOUNT_ATTR_NOSUID, flags.nosuid);
    bits.set(MountAttrFlags::MOUNT_ATTR_NODEV, flags.nodev);
    bits.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, flags.noexec);
    bits
}

/// Puts one thing of the host into the root.
pub fn provide(root: impl AsFd, what: &Provided, ids: IdRange, userns: impl AsFd) -> Result<(), Failure> {
    match what {
        Provided::Tree { source, target, flags } => tree(root, source, target, *flags, userns),
        Provided::Text { target, text } => ensure_text(root, target, text),
        Provided::Dev { nodes } => devices::provide(root, nodes, ids),
    }
}

fn tree(
    root: impl AsFd,
    source: &Path,
    target: &Path,
    flags: MountFlags,
    userns: impl AsFd,
) -> Result<(), Failure> {
    let bits = attributes(flags) | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = shifted_at(unlinked(source)?, source, userns, bits)?;
    let onto = counterpart(root, &mount, source, target)?;
    attach(&mount, &onto).at("attach", format_args!("{} at {}", source.display(), target.display()))
}

/// What is at `source`, no part of whose path may be a symbolic link: a zone that may write a folder above it could
/// put one there, to have anything of the host's shown at the next boot (openat2(2), RESOLVE_NO_SYMLINKS).
fn unlinked(source: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(CWD, source, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .at("open", source.display())
        .map_err(|e| e.because(libc::ELOOP, "a symbolic link is in it; give the path without links"))
}

/// The place for a mount: a folder for a folder, a file for anything else.
fn counterpart(root: impl AsFd, mount: &OwnedFd, source: &Path, target: &Path) -> Result<OwnedFd, Failure> {
    let stat = fstat(mount).at("look at", source.display())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => ensure_dir(root, target),
        _ => ensure_file(root, target),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_source_behind_a_link_is_refused() {
        let host = tempfile::tempdir().unwrap();
        let base = host.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("shared/real")).unwrap();
        symlink("/", base.join("shared/last")).unwrap();
        symlink("shared", base.join("above")).unwrap();
        unlinked(&base.join("shared/real")).unwrap();
        for path in ["shared/last", "shared/last/etc", "above/real"] {
            let refused = unlinked(&base.join(path)).unwrap_err();
            assert_eq!(refused.errno(), Some(libc::ELOOP), "{path}");
        }
    }
}
