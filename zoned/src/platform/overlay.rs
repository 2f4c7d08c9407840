//! An overlay of mounts that are given by descriptor.
//!
//! Kernels take them in two ways, and which one this kernel has is found out by trying:
//! - Linux 6.13 and later are told descriptors (FSCONFIG_SET_FD), from 6.15 on those of detached mounts too;
//! - older ones are told paths, of mounts that are attached in this mount namespace. They are attached for as long as
//!   that takes, and named by their descriptors' numbers from within `/proc/self/fd`: what a kernel is told in one
//!   word has at most 255 bytes, and in a number there is nothing that separates layers or options.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::{Mode, OFlags, open},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsconfig_set_fd,
        fsconfig_set_string, fsmount, fsopen, unmount,
    },
    process::chdir,
};

use super::{At, Failure, rootfs::attach};

/// A folder that an overlay is made of.
#[derive(Debug)]
pub struct Part {
    /// Opened, if only as a path.
    pub folder: OwnedFd,
    /// What it is called in messages.
    pub shown: PathBuf,
}

/// What an overlay is made of.
#[derive(Debug)]
pub struct Parts {
    /// Roots of detached mounts, the uppermost first.
    pub lowers: Vec<Part>,
    /// The root of a detached mount that holds the two below.
    pub dataset: OwnedFd,
    /// Where is written.
    pub upper: Part,
    /// Where the overlay prepares what it writes.
    pub work: Part,
}

/// Makes an overlay that calls itself `name`. `place` is a folder for what must be attached meanwhile.
pub fn make(parts: &Parts, name: &str, place: &File) -> Result<OwnedFd, Failure> {
    match by_descriptor(parts, name) {
        // One that takes no descriptors of paths (O_PATH), or none at all, or none of detached mounts.
        Err(e) if matches!(e.errno(), Some(libc::EBADF | libc::EINVAL)) => by_path(parts, name, place),
        made => made,
    }
}

/// Whether this kernel takes layers by descriptor.
pub fn takes_descriptors() -> bool {
    let told = || {
        let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let folder = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        fsconfig_set_fd(&overlay, "lowerdir+", &folder)
    };
    told().is_ok()
}

fn by_descriptor(parts: &Parts, name: &str) -> Result<OwnedFd, Failure> {
    let overlay = begin(name)?;
    for Part { folder, shown } in &parts.lowers {
        fsconfig_set_fd(&overlay, "lowerdir+", folder).at("add layer", shown.display())?;
    }
    for (key, Part { folder, shown }) in [("upperdir", &parts.upper), ("workdir", &parts.work)] {
        fsconfig_set_fd(&overlay, key, folder).at("use", shown.display())?;
    }
    finish(&overlay)
}

fn by_path(parts: &Parts, name: &str, place: &File) -> Result<OwnedFd, Failure> {
    let mounts = || parts.lowers.iter().map(|part| &part.folder).chain([&parts.dataset]);
    // Each covers the one before, which a descriptor does not mind.
    for mount in mounts() {
        attach(mount, place).at("attach", "a layer")?;
    }
    chdir("/proc/self/fd").at("enter", "/proc/self/fd")?;
    let made = named(parts, name);
    // What is unmounted at a place is the uppermost of its mounts.
    let place = place.as_raw_fd().to_string();
    for _ in mounts() {
        unmount(&place, UnmountFlags::DETACH).at("detach", "a layer")?;
    }
    chdir("/").at("leave", "/proc/self/fd")?;
    made
}

fn named(parts: &Parts, name: &str) -> Result<OwnedFd, Failure> {
    let number = |part: &Part| part.folder.as_raw_fd().to_string();
    let overlay = begin(name)?;
    let lowers: Vec<_> = parts.lowers.iter().map(number).collect();
    fsconfig_set_string(&overlay, "lowerdir", lowers.join(":"))
        .at("add", "the layers")
        .map_err(|e| e.because(libc::EINVAL, "this kernel takes some eighty layers at most"))?;
    for (key, part) in [("upperdir", &parts.upper), ("workdir", &parts.work)] {
        fsconfig_set_string(&overlay, key, number(part)).at("use", part.shown.display())?;
    }
    finish(&overlay)
}

fn begin(name: &str) -> Result<OwnedFd, Failure> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at("open file system", "overlay")?;
    fsconfig_set_string(&overlay, "source", name).at("name", "the overlay")?;
    Ok(overlay)
}

fn finish(overlay: impl AsFd) -> Result<OwnedFd, Failure> {
    // Inode numbers as the layers have them: 32-bit programs cannot read the long ones (overlayfs.rst, xino).
    fsconfig_set_string(&overlay, "xino", "off").at("set xino of", "the overlay")?;
    fsconfig_create(&overlay).at("make", "the overlay")?;
    let made = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV);
    made.at("mount", "the overlay")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rustix::{
        fs::{CWD, openat},
        mount::{MountPropagationFlags, OpenTreeFlags, mount_change, open_tree},
    };

    use super::*;
    use crate::sys::namespace::unshare;

    fn clone(path: &Path) -> OwnedFd {
        open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).unwrap()
    }

    fn parts(dir: &Path) -> Parts {
        let part = |folder, name: &str| Part { folder, shown: name.into() };
        let lowers = ["one", "two"].map(|name| {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("which"), name).unwrap();
            part(clone(&dir.join(name)), name)
        });
        let dataset = dir.join("data");
        ["upper", "work"].into_iter().for_each(|name| fs::create_dir_all(dataset.join(name)).unwrap());
        let dataset = clone(&dataset);
        let [upper, work] = ["upper", "work"]
            .map(|name| part(openat(&dataset, name, OFlags::PATH, Mode::empty()).unwrap(), name));
        Parts { lowers: lowers.into(), dataset, upper, work }
    }

    /// In a thread with mounts and a working directory of its own.
    fn makes(how: fn(&Parts, &str, &File) -> Result<OwnedFd, Failure>) {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: mounts need root");
        }
        let ended = std::thread::spawn(move || {
            let dir = tempfile::tempdir().unwrap();
            unshare(libc::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let place = dir.path().join("place");
            fs::create_dir(&place).unwrap();
            let mounts = || fs::read_to_string("/proc/thread-self/mounts").unwrap();
            let before = mounts();
            let place = File::open(&place).unwrap();
            let made = how(&parts(dir.path()), "x, y:z", &place).unwrap();
            assert_eq!(mounts(), before, "something is still attached");
            attach(&made, &place).unwrap();
            let root = dir.path().join("place");
            assert_eq!(fs::read_to_string(root.join("which")).unwrap(), "one", "the uppermost is first");
            fs::write(root.join("new"), "").unwrap();
            assert!(dir.path().join("data/upper/new").exists());
            assert!(mounts().lines().any(|line| line.starts_with("x,\\040y:z ")), "{}", mounts());
            unmount(&root, UnmountFlags::DETACH).unwrap();
        });
        ended.join().unwrap();
    }

    #[test]
    fn layers_are_named_by_path_on_every_kernel() {
        makes(by_path);
    }

    #[test]
    fn layers_are_named_somehow_on_this_kernel() {
        makes(make);
    }
}
