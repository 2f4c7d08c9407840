//! A bpf file system of our own for what must outlive the daemon: each mount of the type is its own instance, so
//! nobody else's pins are in it.

use std::path::Path;

use rustix::{
    fs::statfs,
    mount::{MountFlags, UnmountFlags, mount as mount_fs, unmount as unmount_fs},
};

use super::{StartError, make_folder};

/// Of bpffs (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Mounts it at `<run>/bpf`, where it is missing.
pub(super) fn mount(run_dir: &Path) -> Result<(), StartError> {
    let path = run_dir.join("bpf");
    make_folder(&path)?;
    if is_mounted(&path) {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounted = mount_fs("zoned", &path, "bpf", flags, Some(c"mode=0700"));
    mounted.map_err(|e| StartError::io(&path, "mount a bpf file system at")(e.into()))
}

/// Takes it away with all pins in it.
pub(super) fn unmount(run_dir: &Path) {
    let path = run_dir.join("bpf");
    if is_mounted(&path)
        && let Err(e) = unmount_fs(&path, UnmountFlags::empty())
    {
        tracing::warn!("{}: cannot be unmounted: {e}", path.display());
    }
    // Not empty, or of somebody else: as it should be.
    let _ = std::fs::remove_dir(&path);
}

fn is_mounted(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.f_type as u64 == BPF_FS_MAGIC)
}
