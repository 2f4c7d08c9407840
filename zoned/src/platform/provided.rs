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
    fs::{FileType, fstat},
    mount::MountAttrFlags,
};

use super::{
    At, Failure, devices,
    paths::{ensure_dir, ensure_file},
    rootfs::{attach, shifted},
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
    let mount = shifted(source, userns, bits)?;
    let onto = counterpart(root, &mount, source, target)?;
    attach(&mount, &onto).at("attach", format_args!("{} at {}", source.display(), target.display()))
}

/// The place for a mount: a folder for a folder, a file for anything else.
fn counterpart(root: impl AsFd, mount: &OwnedFd, source: &Path, target: &Path) -> Result<OwnedFd, Failure> {
    let stat = fstat(mount).at("look at", source.display())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => ensure_dir(root, target),
        _ => ensure_file(root, target),
    }
}
