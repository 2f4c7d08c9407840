//! A zone's `/dev`: a small tmpfs of the host's making with a few device nodes of the host bound on files.
//!
//! The zone cannot make nodes (mknod(2) in a user namespace is EPERM) and the bound ones are opened under the
//! eBPF device program besides.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    mount::{MountAttrFlags, OpenTreeFlags, open_tree},
};

use super::{
    At, Failure,
    paths::{ensure_dir, ensure_file},
    rootfs::{attach, new_file_system},
};
use crate::{
    plan::IdRange,
    sys::mount::{Attributes, set_attributes},
};

/// Mounts `/dev` in the root and fills it with nodes of the host's.
pub fn provide(root: impl AsFd, nodes: &[PathBuf], ids: IdRange) -> Result<(), Failure> {
    let owner = ids.base.to_string();
    let options = [("mode", "755"), ("size", "64k"), ("nr_inodes", "1k"), ("uid", &owner), ("gid", &owner)];
    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = new_file_system("tmpfs", options, plain | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    let onto = ensure_dir(&root, Path::new("/dev"))?;
    attach(&dev, &onto).at("attach", "/dev")?;
    for path in nodes {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let node = open_tree(CWD, path, flags).at("open", path.display())?;
        let change = Attributes { set: plain.bits().into(), ..Attributes::default() };
        set_attributes(node.as_fd(), change).at("restrict", path.display())?;
        // The file is made on the tmpfs itself, at the root of which the path inside begins.
        let file = ensure_file(&dev, path.strip_prefix("/dev").unwrap_or(path))?;
        attach(&node, &file).at("attach", path.display())?;
    }
    Ok(())
}
