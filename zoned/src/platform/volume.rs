//! A file system of bounded size in a file: what a zone with a quota writes to.
//!
//! The file is sparse and holds an ext4, shown by a loop device. Nothing of it is attached anywhere on the host: the
//! mount is a descriptor, and goes with the zone's overlay. The loop device frees itself with the mount. So there is
//! nothing to take down, whoever dies. ext4 refuses to be written beyond its size and number of inodes on every kernel,
//! whereas project quotas need one that was built with them.
//!
//! The daemon keeps a mount of each volume whose zone has a boot: by it the file system is asked what is in it, which
//! reads counters and waits for nothing.
//!
//! The zone's root reaches the files in it and never the file it is in: nothing hostile is ever mounted.

mod device;
mod usage;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, mkdirat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};

use self::device::{Device, attach, showing, wait_until_unused};
pub use self::{
    device::{devices, is_of_another},
    usage::Usage,
};
use super::{At, Failure, disks::Disk};

/// Makes a volume with empty folders `upper` and `work`. Removes what there is of it on an error.
pub fn create(file: &Path, bytes: u64, inodes: Option<u64>) -> Result<(), Failure> {
    make(file, bytes, inodes).inspect_err(|_| drop(fs::remove_file(file)))
}

fn make(file: &Path, bytes: u64, inodes: Option<u64>) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.and_then(|made| made.set_len(bytes)).at("make", file.display())?;
    let inodes = inodes.map(|inodes| inodes.to_string());
    let mut options = vec!["-q", "-F", "-b", "4096", "-m", "0"];
    // Inode tables are written by the kernel later, and what is never written to takes no space.
    options.extend(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"]);
    if let Some(inodes) = &inodes {
        options.extend(["-N", inodes]);
    }
    tool("mkfs.ext4", &options, "make a file system in", file)?;
    let Volume { root, .. } = mount(file)?;
    for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
        mkdirat(&root, name, Mode::from_raw_mode(mode)).at("make a folder in", file.display())?;
        // Whatever the umask is.
        rustix::fs::chmodat(&root, name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
            .at("make a folder in", file.display())?;
    }
    drop(root);
    File::open(file).and_then(|file| file.sync_all()).at("write", file.display())
}

/// A mounted volume. It is mounted for as long as one of these lives.
#[derive(Debug)]
pub struct Volume {
    /// Its root, detached.
    pub root: OwnedFd,
    /// The device that shows it.
    pub disk: Disk,
    size: u64,
}

/// Mounts a volume. Refused while a mount of somebody else's lives: by two devices it would be destroyed.
pub fn mount(file: &Path) -> Result<Volume, Failure> {
    mounted(file, &attach(file)?)
}

/// Mounts a volume that is mounted already once more: both are the same file system. None if it is not. Waits for
/// whoever forces to the disk what was written to it.
pub fn join(file: &Path) -> Result<Option<Volume>, Failure> {
    showing(file)?.map(|device| mounted(file, &device)).transpose()
}

/// Mounts a volume once more, or for the first time.
pub fn share(file: &Path) -> Result<Volume, Failure> {
    join(file)?.map_or_else(|| mount(file), Ok)
}

fn mounted(file: &Path, device: &Device) -> Result<Volume, Failure> {
    let fs = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC).at("open file system", "ext4")?;
    fsconfig_set_string(&fs, "source", &device.path).at("mount", file.display())?;
    // What the zone deletes is the host's again.
    fsconfig_set_flag(&fs, "discard").at("set discard of", file.display())?;
    fsconfig_create(&fs).at("mount", file.display())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    let root = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("mount", file.display())?;
    let disk = device.disk().at("look at", device.path.display())?;
    let size = fs::metadata(file).at("look at", file.display())?.len();
    Ok(Volume { root, disk, size })
}

/// Lets a volume that is not mounted be this large. Never makes it smaller. (A mounted one could grow as well, but that
/// takes CAP_SYS_RESOURCE, which not every host gives.)
pub fn grow(file: &Path, bytes: u64) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).open(file).at("open", file.display())?;
    let before = opened.metadata().at("look at", file.display())?.len();
    if before >= bytes {
        return Ok(());
    }
    wait_until_unused(file)?;
    opened.set_len(bytes).at("grow", file.display())?;
    tool("e2fsck", &["-f", "-p"], "check", file)?;
    tool("resize2fs", &[], "grow the file system in", file)
}

/// Runs a program of e2fsprogs on a volume. Theirs is to say 1 for what they have mended.
fn tool(program: &str, options: &[&str], doing: &'static str, file: &Path) -> Result<(), Failure> {
    let mut command = Command::new(program);
    let output = command.args(options).arg(file).stdin(Stdio::null()).output();
    let output = output.at("run", format_args!("{program} (package e2fsprogs)"))?;
    if output.status.success() || (program == "e2fsck" && output.status.code() == Some(1)) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.trim().lines().last().unwrap_or("it does not say why").to_owned();
    Err(io::Error::other(format!("{program}: {why}"))).at(doing, file.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::{device::shown_by, *};

    fn root() -> bool {
        let can = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
        if !can {
            eprintln!("skipped: loop devices need root and /dev/loop-control");
        }
        can
    }

    #[test]
    fn a_volume_holds_what_it_may_and_no_more() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = fs::canonicalize(dir.path()).unwrap().join("volume");
        create(&file, 32 << 20, Some(100)).unwrap();
        assert_eq!(shown_by(&file), None, "nothing is left of making it");
        let volume = mount(&file).unwrap();
        assert!(shown_by(&file).is_some());
        let empty = volume.usage().unwrap();
        assert!(empty.bytes < 8 << 20 && empty.size == 32 << 20 && empty.inodes < 20, "{empty:?}");
        let open = |name: &str| {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR;
            rustix::fs::openat(&volume.root, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
        };
        let big = open("upper/big").unwrap();
        let block = vec![1; 1 << 20];
        let full = (0..64).find_map(|i| big.write_all_at(&block, i << 20).err().map(|e| (i, e))).unwrap();
        assert!(full.0 < 32 && full.1.raw_os_error() == Some(libc::ENOSPC), "{full:?}");
        let used = volume.usage().unwrap();
        assert!(used.is_full() && !used.is_out_of_inodes() && used.bytes <= used.size, "{used:?}");
        drop(big);
        rustix::fs::unlinkat(&volume.root, "upper/big", rustix::fs::AtFlags::empty()).unwrap();
        let last = (0..200).find_map(|i| open(&format!("upper/{i}")).err().map(|e| (i, e))).unwrap();
        assert!(last.0 < 100 && last.1 == rustix::io::Errno::NOSPC, "{last:?}");
        let used = volume.usage().unwrap();
        assert!(!used.is_full() && used.is_out_of_inodes() && used.most_inodes >= 100, "{used:?}");
        drop(volume);
        grow(&file, 64 << 20).unwrap();
        grow(&file, 1 << 20).unwrap();
        let volume = mount(&file).unwrap();
        let grown = volume.usage().unwrap();
        assert!(grown.size == 64 << 20 && grown.bytes < used.bytes + (2 << 20), "{grown:?}");
        drop(volume);
        assert_eq!(shown_by(&file), None);
    }

    #[test]
    fn a_volume_is_mounted_from_one_device() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = fs::canonicalize(dir.path()).unwrap().join("volume");
        create(&file, 16 << 20, None).unwrap();
        let held = mount(&file).unwrap();
        let second = mount(&file).map(drop).unwrap_err().to_string();
        assert!(second.contains("still shows it"), "{second}");
        let again = share(&file).unwrap();
        assert_eq!(again.disk, held.disk);
        drop(held);
        assert!(shown_by(&file).is_some() && again.usage().is_ok());
        drop(again);
        assert_eq!(shown_by(&file), None);
        share(&file).unwrap();
        assert!(create(&dir.path().join("small"), 1 << 10, None).is_err());
        assert!(!dir.path().join("small").exists());
    }
}
