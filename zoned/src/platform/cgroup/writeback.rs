//! Version 1: holding back what is written to a disk of a zone's own.
//!
//! Version 1 charges to its root group whatever the kernel writes later by itself. A zone with a quota has a device that
//! nobody else writes to, so the root group's caps of that device are the zone's. And what waits to be written to it is
//! bounded, by what it may take in a second: its writers wait once there is more, and others whose sync(2) includes
//! that device wait a second at most.
//!
//! Both last until they are taken back, and the kernel gives the device to whoever wants one next.

use std::path::PathBuf;

use zoned_api::config::Io;

use super::{
    Tree,
    controllers::{Controller, Sight, Version},
    limits::{LimitError, said, write},
    settings::{Disks, RATES, Rate},
};
use crate::platform::disks::Disk;

/// The kernel's own bound, in hundredths of what may wait on the whole host.
const NO_BOUND: &str = "100";

/// About what one request of the kernel's own writes, bytes.
const REQUEST: u64 = 128 << 10;

impl Tree {
    /// Caps what is written later to the zone's own disk, if it has one and this host's controller needs that.
    pub(super) fn hold_writeback(&self, disks: &Disks, io: &Io) -> Result<(), LimitError> {
        let (Some(disk), Some(Version::One)) = (disks.own, self.version(Controller::Io)) else {
            return Ok(());
        };
        for rate in writing() {
            self.cap_root(disk, rate, (rate.of)(io))?;
        }
        let in_a_second =
            [io.write.map(|size| size.0), io.write_iops.map(|requests| requests.saturating_mul(REQUEST))];
        bound(disk, in_a_second.into_iter().flatten().min())
    }

    /// Takes both back. A disk of which nothing is held is left as it is.
    pub fn free_writeback(&self, disk: Disk) -> Result<(), LimitError> {
        if self.version(Controller::Io) != Some(Version::One) {
            return Ok(());
        }
        for rate in writing() {
            self.cap_root(disk, rate, None)?;
        }
        bound(disk, None)
    }

    /// One line: those of other devices are other zones' and the host's own.
    fn cap_root(&self, disk: Disk, rate: &Rate, limit: Option<u64>) -> Result<(), LimitError> {
        let Some(path) = self.io_root().map(|root| root.join(rate.file)) else { return Ok(()) };
        let now = said(&path);
        let had = now.lines().find_map(|line| line.strip_prefix(&format!("{disk} ")));
        // Version 1 says none by 0, and shows no line then.
        let (had, wanted) = (had.unwrap_or("0"), limit.unwrap_or(0).to_string());
        if had == wanted {
            return Ok(());
        }
        write(rate.key, &path, &format!("{disk} {wanted}"))
    }

    fn io_root(&self) -> Option<PathBuf> {
        Some(self.folder(Controller::Io, "")?.parent()?.to_owned())
    }
}

fn writing() -> impl Iterator<Item = &'static Rate> {
    RATES.iter().filter(|rate| !rate.reads())
}

/// Bounds what waits to be written to a disk, whatever else may wait on the host
/// (Documentation/ABI/testing/sysfs-class-bdi, since 6.2).
fn bound(disk: Disk, bytes: Option<u64>) -> Result<(), LimitError> {
    let file = |name: &str| PathBuf::from(format!("/sys/class/bdi/{disk}/{name}"));
    let strict = file("strict_limit");
    match bytes {
        Some(bytes) => {
            // Kept by the kernel as a part of the host's: read back it is another number.
            let written = std::fs::write(file("max_bytes"), bytes.to_string());
            written.map_err(|source| LimitError::Write {
                key: "io.write",
                value: bytes.to_string(),
                path: file("max_bytes"),
                source,
            })?;
            write("io.write", &strict, "1")
        }
        None if said(&strict) == "1" => {
            write("io.write", &strict, "0")?;
            write("io.write", &file("max_ratio"), NO_BOUND)
        }
        None => Ok(()),
    }
}
