//! What is in a volume, by its file system's own counters: statfs(2) of ext4 adds them up and reads no disk.

use std::io;

use rustix::fs::{StatVfs, fstatvfs};

use super::Volume;

/// With less than this left it is full. ext4 refuses a large write before the last block is taken, and up to 0.7 MiB were
/// seen to stay free after one (6.18); a small one still finds room there.
const FULL: u64 = 1 << 20;

/// How full a volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that cannot be written any more, with those that the file system itself takes.
    pub bytes: u64,
    /// Size of the volume, bytes.
    pub size: u64,
    /// Files, folders and links, with the few of the file system itself.
    pub inodes: u64,
    /// How many there can be.
    pub most_inodes: u64,
}

impl Volume {
    /// How full it is now.
    pub fn usage(&self) -> io::Result<Usage> {
        Ok(Usage::of(&fstatvfs(&self.root)?, self.size))
    }
}

impl Usage {
    fn of(stat: &StatVfs, size: u64) -> Self {
        Self {
            bytes: size.saturating_sub(stat.f_bavail.saturating_mul(stat.f_frsize)),
            size,
            inodes: stat.f_files.saturating_sub(stat.f_ffree),
            most_inodes: stat.f_files,
        }
    }

    /// Whether less than 1 MiB can still be written.
    pub fn is_full(&self) -> bool {
        self.size.saturating_sub(self.bytes) < FULL
    }

    /// Whether no file can be made any more.
    pub fn is_out_of_inodes(&self) -> bool {
        self.inodes >= self.most_inodes
    }
}
