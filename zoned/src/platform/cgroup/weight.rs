//! CPU shares as the weight of a group.
//!
//! Linear in both versions: shares × 10 in version 1 (of 2..262144) and shares × 1 in version 2 (of 1..10000), in the
//! kernel's terms the same, so that 10:1 asked is 10:1 given. A group with `cpu.idle` weighs 3 of version 1's units, 0.3 of a
//! share.

use std::{fs, io::Write as _};

use super::{
    Tree,
    controllers::{Controller, Sight, Version},
    limits::LimitError,
};

/// Weight of one share in version 1.
pub(super) const V1_PER_SHARE: u64 = 10;

/// The file, and what it says for these shares (above 0), of which a group is to weigh only a part, or more.
pub(super) fn weight(version: Version, shares: u64, factor: f64) -> (&'static str, u64) {
    let scaled = |unit: u64| (shares as f64 * unit as f64 * factor).round() as u64;
    match version {
        Version::One => ("cpu.shares", scaled(V1_PER_SHARE).clamp(2, 262_144)),
        Version::Two => ("cpu.weight", scaled(1).clamp(1, 10_000)),
    }
}

impl Tree {
    /// Whether zones weigh anything on this host.
    pub fn has_weights(&self) -> bool {
        self.version(Controller::Cpu).is_some()
    }

    /// Whether it is the zones' groups of cgroup2 that weigh.
    pub fn weighs_by_version_2(&self) -> bool {
        self.version(Controller::Cpu) == Some(Version::Two)
    }

    /// The weight that so many shares have on this host, scaled by a factor. None for 0 shares, and where zones weigh nothing.
    pub fn weight_of(&self, shares: u64, factor: f64) -> Option<u64> {
        (shares > 0).then_some(weight(self.version(Controller::Cpu)?, shares, factor).1)
    }

    /// What a boot weighs, by the kernel's word.
    pub fn weight(&self, tag: &str) -> Option<u64> {
        let number = |file| self.number(Controller::Cpu, tag, file);
        number("cpu.weight").or_else(|| number("cpu.shares"))
    }

    /// Has a boot weigh so many shares, scaled by a factor. Does not look first what it weighs.
    pub fn weigh(&self, tag: &str, shares: u64, factor: f64) -> Result<(), LimitError> {
        let Some(version) = self.version(Controller::Cpu).filter(|_| shares > 0) else { return Ok(()) };
        let Some(folder) = self.folder(Controller::Cpu, tag) else { return Ok(()) };
        let (file, weight) = weight(version, shares, factor);
        let (path, value) = (folder.join(file), weight.to_string());
        fs::write(&path, &value).map_err(|source| LimitError::Write {
            key: "cpu.shares",
            value,
            path,
            source,
        })
    }

    /// Takes from a boot that is about to be killed what would hold its processes up while they die: to exit takes CPU time,
    /// and with a cap or without shares that may not come for long.
    pub(super) fn hurry(&self, tag: &str) {
        let Some(folder) = self.folder(Controller::Cpu, tag) else { return };
        for (file, value) in [("cpu.idle", "0"), ("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")] {
            // Which of them there are depends on the version; without them it takes longer, no more.
            let _ = fs::OpenOptions::new()
                .write(true)
                .open(folder.join(file))
                .and_then(|mut f| f.write_all(value.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_linear_and_stay_in_the_kernels_range() {
        assert_eq!(weight(Version::One, 100, 1.0), ("cpu.shares", 1000));
        assert_eq!(weight(Version::Two, 100, 1.0), ("cpu.weight", 100));
        assert_eq!(weight(Version::One, 100, 1.0026), ("cpu.shares", 1003));
        assert_eq!(weight(Version::Two, 300, 0.5), ("cpu.weight", 150));
        assert_eq!(
            (weight(Version::One, 10_000, 2.0).1, weight(Version::Two, 10_000, 2.0).1),
            (200_000, 10_000)
        );
        assert_eq!((weight(Version::One, 1, 0.5).1, weight(Version::Two, 1, 0.5).1), (5, 1));
    }
}
