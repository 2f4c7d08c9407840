//! What a zone's files are on, and the disk of its own among them: the device of its volume, while it has a boot.
//!
//! Version 1 has caps of that device in the host's own group, where they outlive the device's use. So the device is
//! noted in the run folder before any is written, and they are taken back, by that note, before it is let go.

use std::{fs, path::Path};

use zoned_api::{ZoneConfig, config::FsOption};

use super::BeginError;
use crate::{
    fault::whole,
    host::Host,
    mountinfo,
    plan::{Dataset, RunFolder},
    platform::{
        At,
        cgroup::{Disks, LimitError},
        disks::{Disk, below},
        volume::{self, Volume},
    },
};

/// The disks of a zone that has a boot on `own`, or none.
pub(super) fn disks(host: &Host, config: &ZoneConfig, own: Option<Disk>) -> Disks {
    let mut read = host.disks.clone();
    let mut written = match config.root.quota {
        Some(_) => own.into_iter().collect(),
        None => host.disks.clone(),
    };
    if !config.fs.is_empty() {
        let mounts = mountinfo::mounts().unwrap_or_default();
        for fs in &config.fs {
            let disks = below(&mounts, Path::new(&fs.source));
            read.extend(&disks);
            written.extend(disks.into_iter().filter(|_| !fs.options.contains(&FsOption::Ro)));
        }
    }
    for disks in [&mut read, &mut written] {
        disks.sort();
        disks.dedup();
    }
    Disks { read, written, own }
}

/// The device of a zone's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) disk: Disk,
    /// Bytes that were written to it before the boot: the kernel gives devices to one after another.
    pub(super) before: u64,
}

/// Mounts what a zone writes to, if that has a device of its own. Nobody else has mounted it yet.
pub(super) fn mount(folder: &RunFolder, dataset: &Dataset) -> Result<Option<(Volume, Own)>, BeginError> {
    let Dataset::Volume(file) = dataset else { return Ok(None) };
    let volume = volume::mount(file)?;
    let own = Own { disk: volume.disk, before: volume.disk.written().map_or(0, |(bytes, _)| bytes) };
    let text = format!("{} {}", own.disk, own.before);
    fs::write(folder.disk(), text).at("write", folder.disk().display())?;
    Ok(Some((volume, own)))
}

/// The device that was noted.
pub(super) fn noted(folder: &RunFolder) -> Option<Own> {
    let text = fs::read_to_string(folder.disk()).ok()?;
    let (disk, before) = text.split_once(' ')?;
    Some(Own { disk: Disk::parse(disk)?, before: before.parse().ok()? })
}

/// Takes back what a boot's disk is held to, unless it is somebody else's by now.
pub(super) fn release(host: &Host, folder: &RunFolder, dataset: &Dataset) -> Result<(), LimitError> {
    match noted(folder) {
        Some(Own { disk, .. }) if !volume::is_of_another(&disk.name(), dataset.path()) => {
            host.tree.free_writeback(disk)
        }
        _ => Ok(()),
    }
}

/// Mounts the volume of a boot that was taken over, once more. Waits while the zone forces to the disk what it has
/// written.
pub(super) fn join(zone: &str, file: &Path) -> Option<Volume> {
    volume::join(file).unwrap_or_else(|e| {
        tracing::warn!(zone, "how full its disk is cannot be told: {}", whole(&e));
        None
    })
}
