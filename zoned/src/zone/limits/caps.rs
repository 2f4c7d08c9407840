//! How near a boot comes to the caps of its disks.
//!
//! The kernel holds back and tells nobody, in both versions. So what is moved is looked at: a zone that moved as much
//! as it may since the last look is taken to be held at its cap.

use std::time::Instant;

use zoned_api::config::Io;

use crate::platform::{
    cgroup::{Disks, Moved, Tree, caps},
    disks::Disk,
};

/// What counts as all that it may, of a hundred: a look is not exactly a second after the one before.
const NEARLY: u64 = 95;

/// What a boot has moved.
#[derive(Debug, Default)]
pub(super) struct Rates {
    before: Option<(Instant, Vec<(Disk, Moved)>)>,
    /// A second on the busiest disk, since the last look, in the order of the caps.
    pub(super) now: [u64; 4],
    /// Looks that found it at its caps.
    pub(super) held: [u64; 4],
}

impl Rates {
    /// Looks. Without caps there is nothing to look at.
    pub(super) fn look(&mut self, tree: &Tree, tag: &str, io: &Io, disks: &Disks) {
        let caps = caps(io);
        if caps.iter().all(Option::is_none) {
            return *self = Self { held: self.held, ..Self::default() };
        }
        let (at, moved) = (Instant::now(), tree.traffic(tag, disks));
        if let Some((then, before)) = self.before.replace((at, moved.clone())) {
            let ms = u64::try_from(at.duration_since(then).as_millis()).unwrap_or(u64::MAX);
            self.now = rates(&before, &moved, ms.max(1));
        }
        for ((held, now), cap) in self.held.iter_mut().zip(self.now).zip(caps) {
            *held += u64::from(cap.is_some_and(|cap| now.saturating_mul(100) >= cap.saturating_mul(NEARLY)));
        }
    }
}

/// What was moved a second, on the busiest disk.
fn rates(before: &[(Disk, Moved)], now: &[(Disk, Moved)], ms: u64) -> [u64; 4] {
    let old =
        |disk: Disk| before.iter().find(|(of, _)| *of == disk).map_or([0; 4], |(_, moved)| moved.counts);
    let mut most = [0; 4];
    for (disk, moved) in now {
        for ((most, new), old) in most.iter_mut().zip(moved.counts).zip(old(*disk)) {
            *most = u64::max(*most, new.saturating_sub(old).saturating_mul(1000) / ms);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_disk_counts() {
        let disk = |minor| Disk { major: 8, minor };
        let moved = |counts| Moved { counts };
        let before = [(disk(0), moved([1000, 5, 0, 0]))];
        let now = [(disk(0), moved([3000, 5, 9, 0])), (disk(16), moved([500, 10, 1, 2]))];
        assert_eq!(rates(&before, &now, 2000), [1000, 5, 4, 1]);
        assert_eq!(rates(&now, &before, 2000), [0; 4], "a counter that begins anew");
    }
}
