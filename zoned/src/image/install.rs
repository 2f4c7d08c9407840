//! Installs and uninstalls roots: the one entry of this module for the daemon.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use brands::detect::detect;
use rustix::fs::fstatvfs;
use uuid::Uuid;
use zoned_api::{
    Leftover,
    config::{Root, Size},
};

use super::{
    Cancel, Digest, ImageError, RootView, StateIo, Step,
    archive::{Rules, Summary},
    dataset::{Datasets, Quota},
    layers::Layers,
    source::{self, Request, Source},
    temp,
    worker::{self, Job},
};
use crate::{
    plan::{Dataset, IdRange},
    platform::volume,
};

/// Space on the disk no install touches, in bytes.
const RESERVE: u64 = 1 << 30;

/// The images of one state folder.
#[derive(Clone, Debug)]
pub struct Images {
    layers: Layers,
    datasets: Datasets,
    cache: PathBuf,
    worker: PathBuf,
}

/// A root that was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its layers, top first.
    pub layers: Vec<Digest>,
    /// Where it comes from and what was left out of it, in words.
    pub describe: String,
    /// PRETTY_NAME of its os-release, escaped, where it has one.
    pub os: Option<String>,
}

/// How far an install had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The source was being read, packed or downloaded: nothing of the zone's was made.
    Source,
    /// The root was being made, or is there already.
    Unpack,
}

/// An install that failed.
#[derive(Debug)]
pub struct InstallError {
    /// When.
    pub stage: Stage,
    /// Why.
    pub why: ImageError,
}

impl Images {
    /// Opens `<state>/layers` and `<state>/datasets`, made if missing, and removes what interrupted installs and
    /// uninstalls left there. `cache` is made when something is to be kept in it. Several may be open on the same
    /// folders, in one process or more.
    pub fn new(state: &Path, cache: &Path) -> Result<Self, ImageError> {
        let images = Images {
            layers: Layers::open(state)?,
            datasets: Datasets::open(state)?,
            cache: cache.to_owned(),
            // Whatever becomes of the file it was started from.
            worker: "/proc/self/exe".into(),
        };
        temp::sweep(cache, source::WORKING);
        Ok(images)
    }

    /// Unpacks in processes of another program than this one, which must be `zoned`.
    pub fn with_worker(self, program: &Path) -> Self {
        Images { worker: program.to_owned(), ..self }
    }

    /// Gives a zone a root: an empty dataset on the layer of an image, which is made if it is not there. Blocks,
    /// for minutes where something must be downloaded.
    ///
    /// After an error the zone has no dataset. A layer that was finished is kept if another dataset refers to it.
    pub fn install(
        &self,
        zone: Uuid,
        root: &Root,
        ids: IdRange,
        progress: &dyn Fn(Step),
        cancel: &Cancel,
    ) -> Result<Installed, InstallError> {
        if self.datasets.path(&zone).exists() {
            return Err(InstallError { stage: Stage::Unpack, why: ImageError::Exists(zone) });
        }
        let source = self.source(root, progress, cancel);
        let source = source.map_err(|why| InstallError { stage: Stage::Source, why })?;
        let made = self.make(zone, root, &source, ids, progress, cancel);
        made.map_err(|why| InstallError { stage: Stage::Unpack, why })
    }

    /// The archive to unpack. Nothing of the zone's is made yet.
    fn source(&self, root: &Root, progress: &dyn Fn(Step), cancel: &Cancel) -> Result<Source, ImageError> {
        // Before anything is downloaded for nothing.
        self.room()?;
        source::source(root, &Request { cache: &self.cache, spool: self.layers.folder(), progress, cancel })
    }

    fn make(
        &self,
        zone: Uuid,
        root: &Root,
        source: &Source,
        ids: IdRange,
        progress: &dyn Fn(Step),
        cancel: &Cancel,
    ) -> Result<Installed, ImageError> {
        // The reference first: from here on nobody takes the layer away.
        let quota = root.quota.map(|quota| Quota { bytes: quota.0, inodes: root.inodes });
        self.datasets.create(&zone, &[source.digest], quota)?;
        let made = self.layer(source, ids, progress, cancel).and_then(|()| self.describe(zone, root, source));
        if made.is_err()
            && let Err(e) = self.uninstall(zone)
        {
            tracing::warn!("zone {zone}: a failed install cannot be cleaned up: {e}");
        }
        made
    }

    fn layer(
        &self,
        source: &Source,
        ids: IdRange,
        progress: &dyn Fn(Step),
        cancel: &Cancel,
    ) -> Result<(), ImageError> {
        let image = &source.image;
        let waiting = || progress(Step::new(format!("{image}: another install unpacks it; waiting")));
        self.layers.ensure(&source.digest, image, cancel, waiting, |folder| {
            let summary = self.unpack(source, ids, folder, progress, cancel)?;
            progress(Step::new(format!("{image}: writing to disk")));
            Ok(summary)
        })
    }

    fn unpack(
        &self,
        source: &Source,
        ids: IdRange,
        folder: &Path,
        progress: &dyn Fn(Step),
        cancel: &Cancel,
    ) -> Result<Summary, ImageError> {
        let rules = Rules { bytes: self.room()?, ..Rules::default() };
        let job = Job { parent: std::process::id(), folder: folder.to_owned(), ids, rules };
        let what = format!("{}: unpacking", source.image);
        progress(Step::bytes(&what, 0, None));
        worker::run(&self.worker, &job, source, cancel, &mut |amount| {
            progress(Step::bytes(&what, amount.bytes, None));
        })
    }

    /// How much may be unpacked: what the disk has without what is left to the host.
    fn room(&self) -> Result<u64, ImageError> {
        let folder = self.layers.folder();
        let disk = File::open(folder).and_then(|f| Ok(fstatvfs(&f)?)).doing("look at", folder)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        match free.checked_sub(RESERVE) {
            Some(room) if room > 0 => Ok(room.min(Rules::default().bytes)),
            _ => Err(ImageError::NoSpace { path: folder.to_owned(), free: free >> 20 }),
        }
    }

    fn describe(&self, zone: Uuid, root: &Root, source: &Source) -> Result<Installed, ImageError> {
        let record = self.layers.record(&source.digest)?;
        let mut describe = match root.sparse {
            true => "sparse: /usr of this host".to_owned(),
            false => source.image.clone(),
        };
        for (count, what) in [
            (source.skipped, "devices and sockets"),
            (record.summary.devices_skipped, "device nodes below /dev"),
            (record.summary.attributes_dropped, "extended attributes"),
        ] {
            if count > 0 {
                describe.push_str(&format!(", without {count} {what}"));
            }
        }
        let os = detect(&self.view(zone, root.sparse)?, "/sbin/init").os;
        Ok(Installed { layers: vec![source.digest], describe, os: os.and_then(|os| os.pretty_name) })
    }

    /// Removes a zone's dataset with all it has written, and the layers nobody refers to any more. Bootstrapped
    /// archives stay in the cache. It is no error if there is nothing to remove.
    pub fn uninstall(&self, zone: Uuid) -> Result<(), ImageError> {
        self.datasets.remove(&zone)?;
        self.datasets.collect(&self.layers)?;
        // After a daemon that died in an install, its worker may have been dying still when the next one looked.
        self.layers.sweep();
        self.datasets.sweep();
        Ok(())
    }

    /// Root folders of a zone's layers, top first.
    pub fn lowers(&self, zone: Uuid) -> Result<Vec<PathBuf>, ImageError> {
        Ok(self.datasets.parents(&zone)?.iter().map(|digest| self.layers.root(digest)).collect())
    }

    /// What a zone writes to.
    pub fn dataset(&self, zone: Uuid) -> Dataset {
        self.datasets.dataset(&zone)
    }

    /// Lets a zone that is at rest write as much as its configuration says. A quota never becomes smaller.
    pub fn grow(&self, zone: Uuid, quota: Option<Size>) -> Result<(), ImageError> {
        match (self.dataset(zone), quota) {
            (Dataset::Volume(file), Some(quota)) => Ok(volume::grow(&file, quota.0)?),
            _ => Ok(()),
        }
    }

    /// A zone's root for reading, as it is mounted: the dataset over the layers, and the host's `/usr` in it if
    /// `sparse`.
    pub fn view(&self, zone: Uuid, sparse: bool) -> Result<RootView, ImageError> {
        let dataset = self.dataset(zone);
        let mount = match &dataset {
            Dataset::Volume(file) => Some(volume::share(file)?.root),
            Dataset::Folder(_) => None,
        };
        // The view keeps folders of the mount open, and so the mount.
        let place = mount.as_ref().map(|mount| PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())));
        let mut folders = vec![place.as_deref().unwrap_or(dataset.path()).join("upper")];
        folders.extend(self.lowers(zone)?);
        let usr = sparse.then_some(Path::new("/usr"));
        RootView::open(&folders, usr).doing("look into", dataset.path())
    }

    /// Folders of ours that belong to no living zone: datasets of others, layers without a dataset, and what
    /// somebody who died was making. Nothing that is being made is among them.
    pub fn leftovers(&self, living: &[Uuid]) -> Vec<Leftover> {
        let found = |kind: &str, path: PathBuf, uuid: Option<Uuid>| Leftover {
            kind: kind.into(),
            object: path.display().to_string(),
            uuid: uuid.map(|uuid| uuid.to_string()),
        };
        let mut left = Vec::new();
        for zone in self.datasets.list().unwrap_or_default() {
            if !living.contains(&zone) {
                left.push(found("dataset", self.datasets.path(&zone), Some(zone)));
            }
        }
        for digest in self.datasets.unused(&self.layers).unwrap_or_default() {
            let path = self.layers.folder().join(digest.to_string());
            left.push(found("layer", path, None));
        }
        let working = temp::stale(&self.cache, source::WORKING).unwrap_or_default();
        let stale = [self.layers.stale(), self.datasets.stale(), working].concat();
        left.extend(stale.into_iter().map(|path| found("folder", path, None)));
        left
    }
}
