//! Layers: unpacked images, read-only, named by the digest of what they were unpacked from and shared by zones.
//!
//! `<state>/layers/<sha256>/{fs/, layer.json}`. A layer appears whole, in one rename, and is never changed after
//! that; a reference to it is an entry in a dataset's list of parents, and one that no dataset refers to is
//! removed. What is being made or removed has a locked folder `.staging-…` or `.removing-…` beside them.
//!
//! `layers/` is reachable by root alone: real set-uid files lie below it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::syncfs;
use serde::{Deserialize, Serialize};

use super::{
    Cancel, Digest, ImageError, StateIo,
    archive::Summary,
    lock::FileLock,
    temp::{self, TempFolder},
};
use crate::store::atomic::{self, Keep};

const STAGING: &str = ".staging-";
const REMOVING: &str = ".removing-";
const LOCK: &str = ".lock-";

/// What `layer.json` says of a layer. For people; nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Form of this record: 1.
    pub version: u32,
    /// Digest of the archive.
    pub digest: Digest,
    /// Where the archive came from, in words.
    pub source: String,
    /// What was unpacked.
    pub summary: Summary,
    /// When, in milliseconds since the epoch.
    pub made_ms: u64,
}

/// The layers of one state folder.
#[derive(Clone, Debug)]
pub struct Layers {
    folder: PathBuf,
}

impl Layers {
    /// Opens `<state>/layers`, made if missing, and removes what somebody who died was making there.
    pub fn open(state: &Path) -> Result<Self, ImageError> {
        let folder = state.join("layers");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).doing("make", &folder)?;
        let opened = Layers { folder };
        opened.sweep();
        Ok(opened)
    }

    /// Removes what somebody who died was making, as far as that is possible now.
    pub fn sweep(&self) {
        for prefix in [STAGING, REMOVING] {
            temp::sweep(&self.folder, prefix);
        }
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(LOCK)
                && let Err(e) = FileLock::sweep(&entry.path())
                && e.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("{}: cannot be cleaned up: {e}", entry.path().display());
            }
        }
    }

    /// The root of a layer's files.
    pub fn root(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string()).join("fs")
    }

    /// Whether a layer is there, whole.
    pub fn has(&self, digest: &Digest) -> bool {
        self.folder.join(digest.to_string()).is_dir()
    }

    /// Makes a layer unless it is there: `fill` puts the files into the folder it is given.
    ///
    /// Of several at once one fills it and the others wait for that (`waiting` is called) and find it done.
    pub fn ensure(
        &self,
        digest: &Digest,
        source: &str,
        cancel: &Cancel,
        waiting: impl FnOnce(),
        fill: impl FnOnce(&Path) -> Result<Summary, ImageError>,
    ) -> Result<(), ImageError> {
        let lock = self.folder.join(format!("{LOCK}{digest}"));
        let lock = FileLock::acquire(&lock, cancel, waiting).doing("lock", &lock)?;
        let Some(_lock) = lock else { return Err(ImageError::Cancelled) };
        if self.has(digest) {
            return Ok(());
        }
        let staging = TempFolder::new(&self.folder, STAGING).doing("make a folder in", &self.folder)?;
        let root = staging.path().join("fs");
        DirBuilder::new().mode(0o755).create(&root).doing("make", &root)?;
        let summary = fill(&root)?;
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = LayerRecord {
            version: 1,
            digest: *digest,
            source: source.to_owned(),
            summary,
            made_ms: made.as_millis() as u64,
        };
        let path = staging.path().join("layer.json");
        let text = serde_json::to_vec(&record).map_err(io::Error::other).doing("write", &path)?;
        atomic::write(&path, &text, Keep::ThroughExit).doing("write", &path)?;
        // One syncfs instead of an fsync for each of ten thousand files; then the name is forced to the disk.
        let synced = File::open(&root).and_then(|f| Ok(syncfs(&f)?));
        synced.doing("write to disk", &root)?;
        // Another daemon on the same state folder cannot have come first: it would hold the lock.
        staging.keep(&digest.to_string()).doing("finish a layer in", &self.folder)?;
        Ok(())
    }

    /// What is known of a layer.
    pub fn record(&self, digest: &Digest) -> Result<LayerRecord, ImageError> {
        let path = self.folder.join(digest.to_string()).join("layer.json");
        let text = fs::read(&path).doing("read", &path)?;
        serde_json::from_slice(&text).map_err(io::Error::other).doing("read", &path)
    }

    /// Digests of all layers.
    pub fn list(&self) -> Result<Vec<Digest>, ImageError> {
        let entries = fs::read_dir(&self.folder).doing("list", &self.folder)?;
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
        Ok(names.filter_map(|name| Digest::parse(&name)).collect())
    }

    /// Takes a layer away from where it can be found; dropping the result removes it.
    pub(super) fn retire(&self, digest: &Digest) -> Result<Option<TempFolder>, ImageError> {
        TempFolder::of_removed(&self.folder, &digest.to_string(), REMOVING)
            .doing("remove a layer of", &self.folder)
    }

    /// Folders of makers and removers who died.
    pub fn stale(&self) -> Vec<PathBuf> {
        [STAGING, REMOVING].iter().flat_map(|p| temp::stale(&self.folder, p).unwrap_or_default()).collect()
    }

    /// Where the layers are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
