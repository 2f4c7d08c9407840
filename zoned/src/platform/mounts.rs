//! What a zone mounts itself, from inside its namespaces but before the host's root is gone: the kernel gives a
//! user namespace its own proc or sysfs only while a whole one is visible to it (mount_too_revealing).

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, fstat},
    mount::{MountAttrFlags, OpenTreeFlags, open_tree},
};

use super::{
    At, Failure,
    paths::{ensure_dir, locate},
    provided::attributes,
    rootfs::{attach, new_file_system},
};
use crate::{
    plan::{Mask, Mount},
    sys::mount::{Attributes, set_attributes},
};

/// Mounts one file system of the zone's own.
pub fn mount(root: impl AsFd, what: &Mount) -> Result<(), Failure> {
    let options = what.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let made = match new_file_system(&what.fstype, options, attributes(what.flags)) {
        Err(_) if what.optional => return Ok(()),
        made => made?,
    };
    let onto = ensure_dir(&root, &what.target)?;
    attach(&made, &onto).at("attach", what.target.display())
}

/// Covers a path with nothing, or makes it read-only. A path that does not exist needs neither.
pub fn mask(root: impl AsFd, what: &Mask) -> Result<(), Failure> {
    let Ok(place) = locate(&root, &what.path) else { return Ok(()) };
    let cover =
        if what.read_only { read_only(&place, &what.path)? } else { nothing(&root, &place, &what.path)? };
    attach(&cover, &place).at("cover", what.path.display())
}

fn read_only(place: &OwnedFd, path: &Path) -> Result<OwnedFd, Failure> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(place, "", flags).at("open", path.display())?;
    let change = Attributes { set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), ..Attributes::default() };
    set_attributes(tree.as_fd(), change).at("make read-only", path.display())?;
    Ok(tree)
}

/// An empty read-only folder, or the null device for a file.
fn nothing(root: impl AsFd, place: &OwnedFd, path: &Path) -> Result<OwnedFd, Failure> {
    let stat = fstat(place).at("look at", path.display())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let quiet = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        return new_file_system("tmpfs", [("size", "4k"), ("mode", "555")], quiet);
    }
    let null = locate(&root, Path::new("/dev/null")).at("open", "/dev/null")?;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&null, "", flags).at("clone", "/dev/null")
}

/// The root as a mount of this namespace's own, from which pivot_root(2) is allowed (one inherited through a new
/// user namespace is locked: EINVAL), and a descriptor of it. It is the working directory.
pub fn adopt_root() -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let root = open_tree(CWD, "", flags).at("clone", "the zone's root")?;
    attach(&root, CWD).at("attach", "the zone's root")?;
    Ok(root)
}

/// Makes `root` the root of this mount namespace and takes the host's away.
pub fn switch_root(root: impl AsFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).at("enter", "the zone's root")?;
    // The old root is stacked on the new one, and then taken off (pivot_root(2), NOTES).
    rustix::process::pivot_root(".", ".").at("pivot to", "the zone's root")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).at("take off", "the host's root")?;
    rustix::process::chdir("/").at("enter", "/")
}
