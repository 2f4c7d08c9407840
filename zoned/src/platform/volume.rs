//! A file system of bounded size in a file: what a zone with a quota writes to.
//!
//! The file is sparse and holds an ext4, shown by a loop device. Nothing of it is attached anywhere on the host: the
//! mount is a descriptor, and goes with the zone's overlay. The loop device frees itself with the mount. So there is
//! nothing to take down, whoever dies. ext4 refuses to be written beyond its size and number of inodes on every kernel,
//! whereas project quotas need one that was built with them.
//!
//! The zone's root reaches the files in it and never the file it is in: nothing hostile is ever mounted.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, mkdirat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};

use super::{At, Failure};
use crate::sys::loop_device;

/// How long the mount of a boot that has just ended may hold the volume.
const RELEASE: Duration = Duration::from_secs(5);

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
    let root = mount(file)?;
    for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
        mkdirat(&root, name, Mode::from_raw_mode(mode)).at("make a folder in", file.display())?;
        // Whatever the umask is.
        rustix::fs::chmodat(&root, name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
            .at("make a folder in", file.display())?;
    }
    drop(root);
    File::open(file).and_then(|file| file.sync_all()).at("write", file.display())
}

/// Mounts a volume; returns its root, detached. Refused while another mount of it lives: two would destroy it.
pub fn mount(file: &Path) -> Result<OwnedFd, Failure> {
    let device = attach(file)?;
    let fs = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC).at("open file system", "ext4")?;
    fsconfig_set_string(&fs, "source", &device.path).at("mount", file.display())?;
    // What the zone deletes is the host's again.
    fsconfig_set_flag(&fs, "discard").at("set discard of", file.display())?;
    fsconfig_create(&fs).at("mount", file.display())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("mount", file.display())
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

struct Device {
    path: PathBuf,
    /// Held until the mount holds it.
    _open: File,
}

fn attach(file: &Path) -> Result<Device, Failure> {
    let backing = OpenOptions::new().read(true).write(true).open(file).at("open", file.display())?;
    wait_until_unused(file)?;
    let control = Path::new("/dev/loop-control");
    let opened = OpenOptions::new().read(true).write(true).open(control);
    let opened = opened.at("open", "/dev/loop-control (`modprobe loop` may help)")?;
    // Another program may take the same one first.
    for _ in 0..64 {
        let number = loop_device::free(&opened).at("find", "a free loop device")?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&path).at("open", path.display())?;
        match loop_device::configure(&device, &backing) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            other => return other.at("set up", path.display()).map(|()| Device { path, _open: device }),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY)).at("find", "a free loop device")
}

/// The overlay of a boot that has ended may be on its way out still.
fn wait_until_unused(file: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + RELEASE;
    let file = &fs::canonicalize(file).at("find", file.display())?;
    while let Some(device) = shown_by(file) {
        if Instant::now() > deadline {
            let why = io::Error::other(format!("{device} still shows it"));
            return Err(why).at("use", file.display());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The loop device that shows a file, by name. `file` is its canonical path.
fn shown_by(file: &Path) -> Option<String> {
    devices().into_iter().find(|(_, shown)| shown == file).map(|(device, _)| device)
}

/// Loop devices in use, with the files they show.
pub fn devices() -> Vec<(String, PathBuf)> {
    let block = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let loops = block.filter(|entry| entry.file_name().to_string_lossy().starts_with("loop"));
    loops
        .filter_map(|entry| {
            let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), PathBuf::from(file.trim_end())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

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
        let root = mount(&file).unwrap();
        assert!(shown_by(&file).is_some());
        let open = |name: &str| {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR;
            rustix::fs::openat(&root, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
        };
        let big = open("upper/big").unwrap();
        let block = vec![1; 1 << 20];
        let full = (0..64).find_map(|i| big.write_all_at(&block, i << 20).err().map(|e| (i, e))).unwrap();
        assert!(full.0 < 32 && full.1.raw_os_error() == Some(libc::ENOSPC), "{full:?}");
        drop(big);
        rustix::fs::unlinkat(&root, "upper/big", rustix::fs::AtFlags::empty()).unwrap();
        let last = (0..200).find_map(|i| open(&format!("upper/{i}")).err().map(|e| (i, e))).unwrap();
        assert!(last.0 < 100 && last.1 == rustix::io::Errno::NOSPC, "{last:?}");
        drop(root);
        grow(&file, 64 << 20).unwrap();
        grow(&file, 1 << 20).unwrap();
        let root = mount(&file).unwrap();
        let stat = rustix::fs::fstatvfs(&root).unwrap();
        assert!(stat.f_blocks * stat.f_frsize > 50 << 20, "{}", stat.f_blocks);
        drop(root);
        assert_eq!(shown_by(&file), None);
    }

    #[test]
    fn a_volume_is_mounted_once() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = fs::canonicalize(dir.path()).unwrap().join("volume");
        create(&file, 16 << 20, None).unwrap();
        let held = mount(&file).unwrap();
        let second = mount(&file).map(drop).unwrap_err().to_string();
        assert!(second.contains("still shows it"), "{second}");
        drop(held);
        mount(&file).unwrap();
        assert!(create(&dir.path().join("small"), 1 << 10, None).is_err());
        assert!(!dir.path().join("small").exists());
    }
}
