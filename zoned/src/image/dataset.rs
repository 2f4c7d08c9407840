//! Datasets: what a zone has written, and on which layers.
//!
//! `<state>/datasets/<uuid>/{upper,work,dataset.json}`, reachable by root alone. `upper` and `work` are the
//! overlay's; files in them have the ids 0..65535 the zone's userland wrote, and are as hostile as that is. With a
//! quota both are in the file `volume` instead ([`crate::platform::volume`]).
//! A dataset appears and disappears in one rename.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Digest, ImageError, StateIo,
    layers::Layers,
    temp::{self, TempFolder},
};
use crate::{
    plan::Dataset,
    platform::volume,
    store::atomic::{self, Keep},
};

const STAGING: &str = ".staging-";
const REMOVING: &str = ".removing-";

/// Its name in a dataset with a quota.
const VOLUME: &str = "volume";

/// What a zone may write at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes.
    pub bytes: u64,
    /// Files, folders and links; as fits the bytes if none.
    pub inodes: Option<u64>,
}

/// What `dataset.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Form of this record: 1.
    pub version: u32,
    /// The layers below, top first.
    pub parents: Vec<Digest>,
}

/// The datasets of one state folder.
#[derive(Clone, Debug)]
pub struct Datasets {
    folder: PathBuf,
}

impl Datasets {
    /// Opens `<state>/datasets`, made if missing, and removes what somebody who died was making there.
    pub fn open(state: &Path) -> Result<Self, ImageError> {
        let folder = state.join("datasets");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).doing("make", &folder)?;
        let opened = Datasets { folder };
        opened.sweep();
        Ok(opened)
    }

    /// Removes what somebody who died was making, as far as that is possible now.
    pub fn sweep(&self) {
        for prefix in [STAGING, REMOVING] {
            temp::sweep(&self.folder, prefix);
        }
    }

    /// A zone's dataset.
    pub fn path(&self, zone: &Uuid) -> PathBuf {
        self.folder.join(zone.to_string())
    }

    /// Makes an empty dataset. The layers need not be there yet: to be referred to keeps them from being removed
    /// once they are.
    pub fn create(&self, zone: &Uuid, parents: &[Digest], quota: Option<Quota>) -> Result<(), ImageError> {
        let staging = TempFolder::new(&self.folder, STAGING).doing("make a folder in", &self.folder)?;
        match quota {
            Some(quota) => volume::create(&staging.path().join(VOLUME), quota.bytes, quota.inodes)?,
            None => folders(&staging.path())?,
        }
        let record = DatasetRecord { version: 1, parents: parents.to_vec() };
        let path = staging.path().join("dataset.json");
        let text = serde_json::to_vec(&record).map_err(io::Error::other).doing("write", &path)?;
        atomic::write(&path, &text, Keep::ThroughCrash).doing("write", &path)?;
        // Not while somebody looks for layers without reference; what is staged refers to none yet.
        let _lock = self.lock()?;
        match staging.keep(&zone.to_string()).doing("finish a dataset in", &self.folder)? {
            true => Ok(()),
            false => Err(ImageError::Exists(*zone)),
        }
    }

    /// Where a zone writes.
    pub fn dataset(&self, zone: &Uuid) -> Dataset {
        let folder = self.path(zone);
        let volume = folder.join(VOLUME);
        if volume.exists() { Dataset::Volume(volume) } else { Dataset::Folder(folder) }
    }

    /// The layers below a dataset, top first.
    pub fn parents(&self, zone: &Uuid) -> Result<Vec<Digest>, ImageError> {
        let path = self.path(zone).join("dataset.json");
        let text = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ImageError::NotInstalled(*zone)),
            text => text.doing("read", &path)?,
        };
        let record: DatasetRecord =
            serde_json::from_slice(&text).map_err(io::Error::other).doing("read", &path)?;
        Ok(record.parents)
    }

    /// Removes a dataset; it is no error if there is none.
    pub fn remove(&self, zone: &Uuid) -> Result<(), ImageError> {
        let gone = TempFolder::of_removed(&self.folder, &zone.to_string(), REMOVING);
        match gone.doing("remove a dataset of", &self.folder)? {
            Some(gone) => {
                let path = gone.path();
                gone.remove().doing("remove", &path)
            }
            None => Ok(()),
        }
    }

    /// Zones with a dataset.
    pub fn list(&self) -> Result<Vec<Uuid>, ImageError> {
        let entries = fs::read_dir(&self.folder).doing("list", &self.folder)?;
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
        Ok(names.filter_map(|name| Uuid::try_parse(&name).ok()).collect())
    }

    /// Removes the layers no dataset refers to. None is removed as long as one dataset cannot be read: it might
    /// refer to any.
    pub fn collect(&self, layers: &Layers) -> Result<(), ImageError> {
        let retired = {
            let _lock = self.lock()?;
            let unused = self.unused(layers)?;
            unused.iter().map(|digest| layers.retire(digest)).collect::<Result<Vec<_>, _>>()?
        };
        // Out of the lock: this takes long, and nobody can find them any more.
        for gone in retired.into_iter().flatten() {
            let path = gone.path();
            gone.remove().doing("remove", &path)?;
        }
        Ok(())
    }

    /// Layers no dataset refers to.
    pub fn unused(&self, layers: &Layers) -> Result<Vec<Digest>, ImageError> {
        let mut used = Vec::new();
        for zone in self.list()? {
            match self.parents(&zone) {
                Ok(parents) => used.extend(parents),
                // Removed since it was listed.
                Err(ImageError::NotInstalled(_)) if !self.path(&zone).exists() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(layers.list()?.into_iter().filter(|digest| !used.contains(digest)).collect())
    }

    /// Folders of makers and removers who died.
    pub fn stale(&self) -> Vec<PathBuf> {
        [STAGING, REMOVING].iter().flat_map(|p| temp::stale(&self.folder, p).unwrap_or_default()).collect()
    }

    /// Keeps references from being made while unused layers are looked for. Held for moments only.
    fn lock(&self) -> Result<File, ImageError> {
        let folder = File::open(&self.folder).doing("open", &self.folder)?;
        flock(&folder, FlockOperation::LockExclusive).map_err(io::Error::from).doing("lock", &self.folder)?;
        Ok(folder)
    }
}

/// Makes the overlay's folders.
fn folders(dataset: &Path) -> Result<(), ImageError> {
    for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
        let path = dataset.join(name);
        DirBuilder::new().create(&path).doing("make", &path)?;
        // Whatever the umask is: the upper folder's mode is that of the zone's `/`.
        fs::set_permissions(&path, Permissions::from_mode(mode)).doing("make", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Cancel, archive::Summary};

    fn digest(of: u8) -> Digest {
        Digest::parse(&format!("{of:02x}").repeat(32)).unwrap()
    }

    fn ground() -> (tempfile::TempDir, Layers, Datasets) {
        let state = tempfile::tempdir().unwrap();
        let (layers, datasets) = (Layers::open(state.path()).unwrap(), Datasets::open(state.path()).unwrap());
        (state, layers, datasets)
    }

    fn make(layers: &Layers, of: u8) {
        let fill = |root: &Path| {
            fs::write(root.join("x"), "x").unwrap();
            Ok(Summary::default())
        };
        layers.ensure(&digest(of), "test", &Cancel::default(), || {}, fill).unwrap();
    }

    #[test]
    fn a_layer_lives_as_long_as_somebody_refers_to_it() {
        let (_state, layers, datasets) = ground();
        let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
        datasets.create(&a, &[digest(1), digest(2)], None).unwrap();
        datasets.create(&b, &[digest(2)], None).unwrap();
        (1..=3).for_each(|n| make(&layers, n));
        datasets.collect(&layers).unwrap();
        assert!(layers.has(&digest(1)) && layers.has(&digest(2)) && !layers.has(&digest(3)));
        datasets.remove(&a).unwrap();
        datasets.remove(&a).unwrap();
        datasets.collect(&layers).unwrap();
        assert!(!layers.has(&digest(1)) && layers.has(&digest(2)));
        assert_eq!(layers.record(&digest(2)).unwrap().source, "test");
        datasets.remove(&b).unwrap();
        datasets.collect(&layers).unwrap();
        assert_eq!(fs::read_dir(layers.folder()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_removed_while_a_dataset_cannot_be_read() {
        let (_state, layers, datasets) = ground();
        let zone = Uuid::new_v4();
        datasets.create(&zone, &[digest(1)], None).unwrap();
        make(&layers, 1);
        fs::write(datasets.path(&zone).join("dataset.json"), "{").unwrap();
        assert!(datasets.collect(&layers).is_err());
        assert!(layers.has(&digest(1)));
    }

    #[test]
    fn a_second_dataset_for_a_zone_is_refused_and_changes_nothing() {
        let (_state, _layers, datasets) = ground();
        let zone = Uuid::new_v4();
        assert!(matches!(datasets.parents(&zone), Err(ImageError::NotInstalled(_))));
        datasets.create(&zone, &[digest(1)], None).unwrap();
        assert!(matches!(datasets.create(&zone, &[digest(2)], None), Err(ImageError::Exists(_))));
        assert_eq!(datasets.parents(&zone).unwrap(), [digest(1)]);
        assert!(datasets.stale().is_empty());
    }

    #[test]
    fn a_layer_whose_making_fails_leaves_nothing() {
        let (_state, layers, _) = ground();
        let fill = |root: &Path| {
            fs::write(root.join("x"), "x").unwrap();
            Err(ImageError::Cancelled)
        };
        assert!(layers.ensure(&digest(1), "test", &Cancel::default(), || {}, fill).is_err());
        assert_eq!(fs::read_dir(layers.folder()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_maker_left_is_found_and_removed() {
        let (state, layers, datasets) = ground();
        fs::create_dir_all(layers.folder().join(".staging-dead/fs/deep")).unwrap();
        fs::create_dir_all(state.path().join("datasets/.removing-dead/upper")).unwrap();
        assert_eq!((layers.stale().len(), datasets.stale().len()), (1, 1));
        Layers::open(state.path()).unwrap();
        Datasets::open(state.path()).unwrap();
        assert_eq!((layers.stale().len(), datasets.stale().len()), (0, 0));
    }

    #[test]
    fn two_makers_of_one_layer_make_it_once() {
        let (_state, layers, _) = ground();
        let filled = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let fill = |root: &Path| {
                        filled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        fs::write(root.join("x"), "x").unwrap();
                        Ok(Summary::default())
                    };
                    layers.ensure(&digest(1), "test", &Cancel::default(), || {}, fill).unwrap();
                });
            }
        });
        assert_eq!(filled.into_inner(), 1);
    }
}
