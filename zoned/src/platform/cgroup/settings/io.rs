//! Block devices: weights among zones, and caps.

use zoned_api::config::{DEFAULT_WEIGHT, Io, Limits};

use super::{
    super::{
        controllers::{Controller, Sight, Version},
        limits::LimitError,
    },
    Disks, Draft, unsupported,
};
use crate::platform::disks::Disk;

pub(super) fn weight<H: Sight>(draft: &mut Draft<'_, H>, limits: &Limits) -> Result<(), LimitError> {
    let (key, weight) = ("io.weight", limits.io.weight);
    // Nothing is looked for where nothing is asked: no weight was ever set, or it went with the scheduler.
    if weight.is_none() && draft.made {
        return Ok(());
    }
    let files = match draft.version(key, Controller::Io, weight.is_some())? {
        Some(_) => draft.host.weight_files(),
        None => return Ok(()),
    };
    if weight.is_some() && files.is_empty() {
        let why = "no block device of this host shares by weight";
        let hint = "write bfq to /sys/block/DEVICE/queue/scheduler, or take the key away";
        return Err(unsupported(key, why, hint));
    }
    for file in files {
        draft.put(key, Controller::Io, file, weight.map(|n| n.to_string()), &DEFAULT_WEIGHT.to_string());
    }
    Ok(())
}

/// A cap: its key, and what the kernel calls it.
#[derive(Debug)]
pub(in super::super) struct Rate {
    /// Key of the configuration.
    pub(in super::super) key: &'static str,
    /// File of version 1, which has a line `MAJOR:MINOR NUMBER` for each device.
    pub(in super::super) file: &'static str,
    /// Word in a line of version 2's `io.max`, which has all four in this order, or none.
    pub(in super::super) word: &'static str,
    /// What it is for a zone.
    pub(in super::super) of: fn(&Io) -> Option<u64>,
}

impl Rate {
    /// Whether it is of reading.
    pub(in super::super) fn reads(&self) -> bool {
        self.word.starts_with('r')
    }

    /// Where it is kept.
    fn disks<'a>(&self, disks: &'a Disks) -> &'a [Disk] {
        if self.reads() { &disks.read } else { &disks.written }
    }
}

/// All caps.
pub(in super::super) const RATES: [Rate; 4] = [
    Rate {
        key: "io.read",
        file: "blkio.throttle.read_bps_device",
        word: "rbps",
        of: |io| io.read.map(|size| size.0),
    },
    Rate {
        key: "io.write",
        file: "blkio.throttle.write_bps_device",
        word: "wbps",
        of: |io| io.write.map(|size| size.0),
    },
    Rate {
        key: "io.read-iops",
        file: "blkio.throttle.read_iops_device",
        word: "riops",
        of: |io| io.read_iops,
    },
    Rate {
        key: "io.write-iops",
        file: "blkio.throttle.write_iops_device",
        word: "wiops",
        of: |io| io.write_iops,
    },
];

pub(super) fn caps<H: Sight>(draft: &mut Draft<'_, H>, limits: &Limits) -> Result<(), LimitError> {
    let (io, controller) = (&limits.io, Controller::Io);
    let asked = RATES.iter().find(|rate| (rate.of)(io).is_some());
    let version = draft.version(asked.map_or("io.read", |rate| rate.key), controller, asked.is_some())?;
    let Some(version) = version else { return Ok(()) };
    if let Some(rate) = asked {
        can_cap(draft, version, rate, io)?;
    }
    let limit = |rate: &Rate, disk: &Disk| (rate.of)(io).filter(|_| rate.disks(draft.disks).contains(disk));
    match version {
        Version::One => {
            for rate in &RATES {
                let line = |disk: &Disk| Some(format!("{disk} {}", limit(rate, disk)?));
                let lines = rate.disks(draft.disks).iter().filter_map(line).collect();
                draft.put_lines(rate.key, controller, rate.file, lines);
            }
        }
        Version::Two => {
            let word = |rate: &Rate, disk: &Disk| match limit(rate, disk) {
                Some(limit) => format!("{}={limit}", rate.word),
                None => format!("{}=max", rate.word),
            };
            let line =
                |disk: &Disk| format!("{disk} {}", RATES.each_ref().map(|rate| word(rate, disk)).join(" "));
            let mut disks = draft.disks.all();
            disks.retain(|disk| RATES.iter().any(|rate| limit(rate, disk).is_some()));
            let lines = disks.iter().map(line).collect();
            draft.put_lines(asked.map_or("io.read", |rate| rate.key), controller, "io.max", lines);
        }
    }
    Ok(())
}

fn can_cap<H: Sight>(draft: &Draft<'_, H>, version: Version, rate: &Rate, io: &Io) -> Result<(), LimitError> {
    let file = match version {
        Version::One => rate.file,
        Version::Two => "io.max",
    };
    if !draft.host.has(Controller::Io, file) {
        let why = "this kernel was built without caps of block devices (CONFIG_BLK_DEV_THROTTLING)";
        return Err(unsupported(rate.key, why, "take the key away"));
    }
    if draft.disks.read.is_empty() {
        let why = "the zones' files are on no block device of this host";
        return Err(unsupported(rate.key, why, "take the key away, or keep the state folder on a disk"));
    }
    // Version 1 charges what is written later to its root group (cgroup-v1/blkio-controller.rst): only on a device of
    // the zone's own is that the zone's.
    let writes = RATES.iter().find(|rate| !rate.reads() && (rate.of)(io).is_some());
    match writes {
        Some(rate) if version == Version::One && draft.disks.shares() => {
            let why = "this host's io controller is of cgroup version 1, which holds back what is written to a device \
                       of the zone's own and to no other";
            let hint = "give it a root.quota before it is installed, and each fs of a disk the option ro; or take the \
                        key away";
            Err(unsupported(rate.key, why, hint))
        }
        _ => Ok(()),
    }
}
