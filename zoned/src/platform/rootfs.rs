//! The root file system: an overlay of shared read-only layers and the zone's dataset, with ids shifted to the
//! zone's.
//!
//! Files on disk keep ids 0..65535; layers and dataset are seen through id-mapped clones. The overlay itself
//! cannot be id-mapped (EINVAL), and one made by plain root over an id-mapped upper folder silently turns
//! read-only, because the overlay acts with its maker's ids, for which that folder has no number. So this runs
//! in a short-lived process that has taken the zone root's fsuid (see [`as_zone_root`]).

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
    thread::{CapabilitiesSecureBits, set_capabilities_secure_bits},
};

use super::{
    At, Failure,
    overlay::{self, Part, Parts},
    volume,
};
use crate::{
    plan::{Dataset, IdRange, RootPlan},
    sys::{
        identity::set_fs_ids,
        mount::{Attributes, set_attributes},
    },
};

/// Takes the fsuid and fsgid of the zone's root for the rest of this process' life, keeping its capabilities.
pub fn as_zone_root(ids: IdRange) -> Result<(), Failure> {
    // Else the kernel drops CAP_DAC_OVERRIDE and its like when fsuid leaves 0 (capabilities(7)).
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).at("set", "secure bits")?;
    set_fs_ids(ids.base, ids.base).at("take", "the ids of the zone's root")
}

/// A detached clone of the mount at `path` (that one mount only), ids shifted by `userns`, with attributes.
pub fn shifted(path: &Path, userns: impl AsFd, attributes: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let place =
        openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at("open", path.display())?;
    shifted_at(place, path, userns, attributes)
}

/// Like [`shifted`], of what is open already; `path` is for messages.
pub fn shifted_at(
    place: OwnedFd,
    path: &Path,
    userns: impl AsFd,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    shift(open_tree(&place, "", flags).at("clone", path.display())?, path, userns, attributes)
}

/// Shifts the ids of a detached mount that has not been shifted yet.
fn shift(
    tree: OwnedFd,
    path: &Path,
    userns: impl AsFd,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let change = Attributes { set: attributes.bits().into(), idmap: Some(userns.as_fd()), recursive: false };
    set_attributes(tree.as_fd(), change)
        .at("shift the ids of", path.display())
        .map_err(|e| e.because(libc::EINVAL, "its file system does not support id-mapped mounts"))?;
    Ok(tree)
}

/// An assembled root.
#[derive(Debug)]
pub struct Assembled {
    /// The overlay, attached.
    pub root: OwnedFd,
    /// What it is made of: detached mounts, which dissolve with their descriptors. The overlay has taken them, but each
    /// takes 0.1 ms to dissolve: better when nobody waits any more.
    pub spent: Parts,
}

/// Makes the overlay and attaches it at `plan.assembly`.
pub fn assemble(plan: &RootPlan, tag: &str, userns: impl AsFd) -> Result<Assembled, Failure> {
    let layer = |path: &PathBuf| {
        let folder = shifted(path, &userns, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        Ok(Part { folder, shown: path.clone() })
    };
    let lowers = plan.lowers.iter().map(layer).collect::<Result<_, Failure>>()?;
    let dataset = match &plan.dataset {
        Dataset::Folder(folder) => shifted(folder, &userns, MountAttrFlags::empty())?,
        Dataset::Volume(file) => shift(volume::share(file)?.root, file, &userns, MountAttrFlags::empty())?,
    };
    let written = |name: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let shown = plan.dataset.path().join(name);
        let folder = openat(&dataset, name, flags, Mode::empty()).at("open", shown.display())?;
        Ok(Part { folder, shown })
    };
    let (upper, work) = (written("upper")?, written("work")?);
    let spent = Parts { lowers, dataset, upper, work };
    let onto = File::open(&plan.assembly).at("open", plan.assembly.display())?;
    let root = overlay::make(&spent, &format!("zone-{tag}"), &onto)?;
    refuse_read_only(&root)?;
    attach(&root, &onto).at("attach the root at", plan.assembly.display())?;
    Ok(Assembled { root, spent })
}

/// An overlay whose work folder could not be used is mounted all the same, read-only, with a line in the kernel's log.
fn refuse_read_only(mount: &OwnedFd) -> Result<(), Failure> {
    use rustix::{
        fs::{StatVfsMountFlags, fstatvfs},
        io::Errno,
    };
    let stat = fstatvfs(mount).at("look at", "the overlay")?;
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(Errno::ROFS).at("write to", "the zone's dataset (the kernel's log says why)");
    }
    Ok(())
}

/// Attaches a detached mount on what a descriptor stands for.
pub fn attach(mount: impl AsFd, onto: impl AsFd) -> rustix::io::Result<()> {
    let both_empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", onto, "", both_empty)
}

/// A new file system of `fstype` with options, not attached anywhere yet.
pub fn new_file_system<'o>(
    fstype: &str,
    options: impl IntoIterator<Item = (&'o str, &'o str)>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let fs = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).at("open file system", fstype)?;
    for (key, value) in options {
        if value.is_empty() { fsconfig_set_flag(&fs, key) } else { fsconfig_set_string(&fs, key, value) }
            .at("set option", format_args!("{key}={value} of {fstype}"))?;
    }
    fsconfig_create(&fs).at("make file system", fstype)?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("mount", fstype)
}
