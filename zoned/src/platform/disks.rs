//! The block devices that files are on.
//!
//! A file system is found by what is mounted where, never by touching it: one of a network or of FUSE may not answer.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{major, makedev, minor};

use crate::mountinfo::Mount;

/// Where the kernel tells of its devices.
const SYSFS: &str = "/sys";

/// A whole block device. Shown as the kernel's interfaces take it: `254:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disk {
    /// Number of its driver.
    pub major: u32,
    /// Its number among the driver's.
    pub minor: u32,
}

impl Disk {
    /// By the number of a whole device.
    pub fn numbered(dev: u64) -> Self {
        Self { major: major(dev), minor: minor(dev) }
    }

    /// From the kernel's form.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// Its name, like `vda`; its number where it has none.
    pub fn name(self) -> String {
        let link = fs::read_link(Path::new(SYSFS).join(format!("dev/block/{self}"))).ok();
        let name = link.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| self.to_string())
    }

    /// Bytes and requests that have been written to it, by whomever, since the kernel has it
    /// (Documentation/block/stat.rst: sectors of 512 bytes).
    pub fn written(self) -> Option<(u64, u64)> {
        let stat = fs::read_to_string(Path::new(SYSFS).join(format!("dev/block/{self}/stat"))).ok()?;
        let mut counts = stat.split_whitespace().skip(4).map(|n| n.parse::<u64>().ok());
        let (requests, sectors) = (counts.next()??, counts.nth(1)??);
        Some((sectors.saturating_mul(512), requests))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The disks that are below a path without symbolic links; none where its file system is on no block device.
pub fn below(mounts: &[Mount], path: &Path) -> Vec<Disk> {
    disks(Path::new(SYSFS), mounts, path)
}

fn disks(sysfs: &Path, mounts: &[Mount], path: &Path) -> Vec<Disk> {
    // Of two at one place the later covers the earlier.
    let over = |mount: &&Mount| path.starts_with(&mount.target);
    let Some(mount) = mounts.iter().filter(over).max_by_key(|mount| mount.target.components().count()) else {
        return Vec::new();
    };
    let numbers = match major(mount.dev) {
        0 => behind(sysfs, mount),
        _ => vec![mount.dev],
    };
    let mut disks: Vec<_> = numbers.into_iter().filter_map(|dev| whole(sysfs, dev)).collect();
    disks.sort();
    disks.dedup();
    disks
}

/// What a file system with a number of its own making is on: btrfs, by the device it was mounted from and those that
/// are with it. The source of others is free text, or no path below `/dev`.
fn behind(sysfs: &Path, mount: &Mount) -> Vec<u64> {
    let Some(source) = Path::new(&mount.source).strip_prefix("/dev").ok() else { return Vec::new() };
    let Ok(first) = fs::metadata(Path::new("/dev").join(source)).map(|m| m.rdev()) else { return Vec::new() };
    let pools = fs::read_dir(sysfs.join("fs/btrfs")).into_iter().flatten().flatten();
    let members = pools.map(|pool| numbers(&pool.path().join("devices")));
    members.into_iter().find(|pool| pool.contains(&first)).unwrap_or_else(|| vec![first])
}

/// The numbers of devices that a folder of sysfs has links to.
fn numbers(folder: &Path) -> Vec<u64> {
    let devices = fs::read_dir(folder).into_iter().flatten().flatten();
    devices.filter_map(|device| number(&device.path())).collect()
}

/// The number of the device that a folder of sysfs is of.
fn number(device: &Path) -> Option<u64> {
    let text = fs::read_to_string(device.join("dev")).ok()?;
    let Disk { major, minor } = Disk::parse(text.trim())?;
    Some(makedev(major, minor))
}

/// The disk that a device is, or is a partition of.
fn whole(sysfs: &Path, dev: u64) -> Option<Disk> {
    let device: PathBuf = sysfs.join(format!("dev/block/{}", Disk::numbered(dev)));
    // The folder of a partition is in that of its disk.
    let disk = match device.join("partition").exists() {
        true => number(fs::canonicalize(&device).ok()?.parent()?),
        false => device.exists().then_some(dev),
    };
    disk.map(Disk::numbered)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mount(dev: (u32, u32), target: &str, source: &str) -> Mount {
        Mount {
            dev: makedev(dev.0, dev.1),
            root: "/".into(),
            target: target.into(),
            fstype: String::new(),
            source: source.into(),
            options: Vec::new(),
        }
    }

    /// A sysfs with a disk 8:0 and its partition 8:1, a disk 254:0, and a volume 253:0.
    fn sysfs() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        for (folder, dev) in [
            ("devices/sda", "8:0"),
            ("devices/sda/sda1", "8:1"),
            ("devices/vda", "254:0"),
            ("devices/dm-0", "253:0"),
        ] {
            let folder = sys.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("dev"), format!("{dev}\n")).unwrap();
            symlink(&folder, sys.path().join("dev/block").join(dev)).unwrap();
        }
        fs::write(sys.path().join("devices/sda/sda1/partition"), "1\n").unwrap();
        sys
    }

    #[test]
    fn a_path_is_on_the_disk_of_what_is_mounted_last_above_it() {
        let sys = sysfs();
        let mounts = [
            mount((254, 0), "/", "/dev/vda"),
            mount((0, 30), "/tmp", "tmpfs"),
            mount((8, 1), "/var/lib", "/dev/sda1"),
            mount((253, 0), "/var/lib/zoned", "/dev/mapper/pool-zones"),
            mount((8, 0), "/over", "/dev/sda"),
            mount((254, 0), "/over", "/dev/vda"),
            mount((0, 31), "/net", "server:/export"),
        ];
        let on = |path: &str| {
            let disks = disks(sys.path(), &mounts, Path::new(path));
            disks.iter().map(Disk::to_string).collect::<Vec<_>>().join(" ")
        };
        for (path, disks) in [
            ("/usr", "254:0"),
            ("/var/lib/other", "8:0"),
            ("/var/lib/zoned/datasets", "253:0"),
            ("/var/library", "254:0"),
            ("/over/x", "254:0"),
            ("/tmp/x", ""),
            ("/net/x", ""),
        ] {
            assert_eq!(on(path), disks, "{path}");
        }
    }

    #[test]
    fn this_hosts_own_root_is_on_what_the_kernel_says() {
        let mounts = crate::mountinfo::mounts().unwrap();
        let dev = fs::metadata("/usr").unwrap().dev();
        for disk in below(&mounts, Path::new("/usr")) {
            assert!(Path::new(SYSFS).join(format!("block/{}", disk.name())).exists(), "{disk}");
            assert!(major(dev) == 0 || disk.major == major(dev), "{disk}");
            let (bytes, requests) = disk.written().unwrap();
            assert!(bytes >= requests && requests > 0, "{disk}: {bytes} bytes in {requests} requests");
        }
    }
}
