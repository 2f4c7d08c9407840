//! Block devices: what a boot has moved, and its caps as the kernel has them.

use zoned_api::config::{DEFAULT_WEIGHT, Io, Size};

use super::{
    Tree,
    controllers::{Controller, Sight, Version},
    limits::{LimitError, write_lines},
    settings::{Disks, RATES},
};
use crate::platform::disks::Disk;

/// Number of the driver of loop devices (admin-guide/devices.txt).
const LOOP: u32 = 7;

/// What was moved to and from one disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes read and written, requests that read and wrote: in the order of the caps.
    pub counts: [u64; 4],
}

/// The keys of the caps, in the order of [`Moved::counts`].
pub const CAPS: [&str; 4] = [RATES[0].key, RATES[1].key, RATES[2].key, RATES[3].key];

/// The caps, in that order.
pub fn caps(io: &Io) -> [Option<u64>; 4] {
    RATES.each_ref().map(|rate| (rate.of)(io))
}

impl Tree {
    /// Has the kernel count what is moved from here on. Version 1 does so on disks for which a cap was ever written,
    /// and be it none (`blk_throtl_activated` in block/blk-throttle.c; seen with 6.18).
    pub(super) fn count_io(&self, tag: &str, disks: &Disks) {
        if self.version(Controller::Io) != Some(Version::One) {
            return;
        }
        let Some(folder) = self.folder(Controller::Io, tag) else { return };
        for disk in disks.all() {
            // Where it does not, figures are missing, and nothing else.
            let _ = std::fs::write(folder.join(RATES[0].file), format!("{disk} 0"));
        }
    }

    /// Bytes a boot has read and written, summed over disks.
    ///
    /// What is read through a volume is counted where it comes from: the reads of a loop device's worker are charged to
    /// whoever it reads for.
    pub(super) fn moved(&self, tag: &str) -> Option<(u64, u64)> {
        let all = self.moved_by_disk(tag)?;
        let read = all.iter().filter(|(disk, _)| disk.major != LOOP).map(|(_, moved)| moved.counts[0]).sum();
        // Version 1 charges what a volume writes to the disk below to nobody, version 2 to the zone.
        let twice = self.version(Controller::Io) == Some(Version::Two);
        let written = all.iter().filter(|(disk, _)| !twice || disk.major != LOOP);
        Some((read, written.map(|(_, moved)| moved.counts[1]).sum()))
    }

    /// What a boot has moved, by disk, as far as it counts against its caps: of a disk of its own what has come to be
    /// written, by whomever.
    pub fn traffic(&self, tag: &str, disks: &Disks) -> Vec<(Disk, Moved)> {
        let charged = self.moved_by_disk(tag).unwrap_or_default();
        let of = |disk: Disk| {
            let all = charged.iter().find(|(of, _)| *of == disk).map_or([0; 4], |(_, moved)| moved.counts);
            let [read, _, reads, _] = if disks.read.contains(&disk) { all } else { [0; 4] };
            let [_, mut written, _, mut writes] = if disks.written.contains(&disk) { all } else { [0; 4] };
            if disks.own == Some(disk) {
                (written, writes) = disk.written().unwrap_or_default();
            }
            (disk, Moved { counts: [read, written, reads, writes] })
        };
        disks.all().into_iter().map(of).collect()
    }

    /// Bytes that have come to be written to a boot's own disk and were charged to nobody: by version 1, which charges
    /// none of what the kernel writes by itself. `before` had been written before the boot.
    pub fn uncharged(&self, tag: &str, own: Disk, before: u64) -> u64 {
        if self.version(Controller::Io) != Some(Version::One) {
            return 0;
        }
        let written = own.written().map_or(0, |(bytes, _)| bytes.saturating_sub(before));
        let all = self.moved_by_disk(tag).unwrap_or_default();
        let charged = all.iter().find(|(disk, _)| *disk == own).map_or(0, |(_, moved)| moved.counts[1]);
        written.saturating_sub(charged)
    }

    fn moved_by_disk(&self, tag: &str) -> Option<Vec<(Disk, Moved)>> {
        let text = |file: &str| self.text(Controller::Io, tag, file);
        match self.version(Controller::Io)? {
            Version::One => Some(moved_v1(
                &text("blkio.throttle.io_service_bytes_recursive")?,
                &text("blkio.throttle.io_serviced_recursive")?,
            )),
            Version::Two => Some(moved_v2(&text("io.stat")?)),
        }
    }

    /// Lets a boot move as much as it can.
    pub fn uncap_io(&self, tag: &str) -> Result<(), LimitError> {
        let Some(folder) = self.folder(Controller::Io, tag) else { return Ok(()) };
        match self.version(Controller::Io) {
            Some(Version::Two) => write_lines("io", &folder.join("io.max"), &[]),
            _ => RATES.iter().try_for_each(|rate| write_lines(rate.key, &folder.join(rate.file), &[])),
        }
    }

    /// Limits of block devices that are in force.
    pub(super) fn io_in_force(&self, tag: &str) -> Io {
        let weight = self.weight_files().into_iter().find_map(|file| self.number(Controller::Io, tag, file));
        let [read, write, read_iops, write_iops] = RATES.each_ref().map(|rate| {
            // Every disk that has one has the same.
            match self.version(Controller::Io)? {
                Version::One => {
                    self.text(Controller::Io, tag, rate.file)?.split_whitespace().nth(1)?.parse().ok()
                }
                Version::Two => {
                    self.text(Controller::Io, tag, "io.max")?.lines().find_map(|line| word(line, rate.word))
                }
            }
        });
        Io {
            weight: weight.filter(|weight| *weight != DEFAULT_WEIGHT),
            read: read.map(Size),
            write: write.map(Size),
            read_iops,
            write_iops,
        }
    }
}

/// From a pair of version 1's files: lines like `8:0 Read 4096`.
fn moved_v1(bytes: &str, requests: &str) -> Vec<(Disk, Moved)> {
    let mut all: Vec<(Disk, Moved)> = Vec::new();
    for (first, text) in [(0, bytes), (2, requests)] {
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(disk), Some(what), Some(count)) =
                (words.next().and_then(Disk::parse), words.next(), words.next().and_then(|n| n.parse().ok()))
            else {
                continue;
            };
            let Some(place) = ["Read", "Write"].iter().position(|word| *word == what) else { continue };
            let at = all.iter().position(|(of, _)| *of == disk).unwrap_or_else(|| {
                all.push((disk, Moved::default()));
                all.len() - 1
            });
            all[at].1.counts[first + place] = count;
        }
    }
    all
}

/// From version 2's `io.stat`: lines like `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn moved_v2(text: &str) -> Vec<(Disk, Moved)> {
    let line = |line: &str| {
        let disk = Disk::parse(line.split(' ').next()?)?;
        let counts = ["rbytes", "wbytes", "rios", "wios"].map(|name| word(line, name).unwrap_or(0));
        Some((disk, Moved { counts }))
    };
    text.lines().filter_map(line).collect()
}

/// The number of a word `NAME=NUMBER` of a line.
fn word(line: &str, name: &str) -> Option<u64> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_alike() {
        let disk = |minor| Disk { major: 8, minor };
        let bytes =
            "8:16 Read 10\n8:16 Write 20\n8:16 Sync 30\n8:16 Total 30\n8:0 Read 1\n8:0 Write 0\nTotal 31\n";
        let requests = "8:16 Read 3\n8:16 Write 4\n8:16 Discard 9\nTotal 7\n";
        let wanted =
            vec![(disk(16), Moved { counts: [10, 20, 3, 4] }), (disk(0), Moved { counts: [1, 0, 0, 0] })];
        assert_eq!(moved_v1(bytes, requests), wanted);
        let stat =
            "8:16 rbytes=10 wbytes=20 rios=3 wios=4 dbytes=7 dios=1\n8:0 rbytes=1 wbytes=0 rios=0 wios=0\n\n";
        assert_eq!(moved_v2(stat), wanted);
        assert_eq!(
            (moved_v1("Total 0\n", ""), moved_v2("8:0 \nx")),
            (vec![], vec![(disk(0), Moved::default())])
        );
        assert_eq!(word("8:0 rbps=max wbps=7", "wbps"), Some(7));
        assert_eq!(word("8:0 rbps=max wbps=7", "rbps"), None);
    }
}
