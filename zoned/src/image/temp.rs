//! Folders that are being made: found and removed again if whoever makes them dies.
//!
//! Such a folder has a prefix that says what it is for and is locked (flock(2)) as long as its maker lives, so
//! that everybody can tell a stale one from one in use, across processes and without clocks.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};
use uuid::Uuid;

use super::remove::remove_tree;

/// A locked folder, removed when this is dropped unless [`TempFolder::keep`] renamed it.
#[derive(Debug)]
pub(super) struct TempFolder {
    parent: PathBuf,
    name: String,
    /// Holds the lock.
    _lock: File,
    kept: bool,
}

impl TempFolder {
    /// Makes `<parent>/<prefix><random>`, mode 0700.
    pub(super) fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        loop {
            let name = format!("{prefix}{}", Uuid::new_v4().simple());
            let path = parent.join(&name);
            DirBuilder::new().mode(0o700).create(&path)?;
            // Between the two calls somebody may have taken it for a stale one.
            if let Some(lock) = lock_folder(&path)? {
                return Ok(TempFolder { parent: parent.to_owned(), name, _lock: lock, kept: false });
            }
        }
    }

    /// Takes an existing folder of `parent` away: after this only the stale name is left of it, until it is
    /// dropped. None if there is no such folder.
    pub(super) fn of_removed(parent: &Path, name: &str, prefix: &str) -> io::Result<Option<Self>> {
        let temp = Self::new(parent, prefix)?;
        match fs::rename(parent.join(name), temp.path().join(name)) {
            Ok(()) => Ok(Some(temp)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Gives it its lasting name beside where it is, forced to the disk. False, and it is removed, if there is
    /// something of that name already.
    pub(super) fn keep(mut self, name: &str) -> io::Result<bool> {
        let parent = File::open(&self.parent)?;
        match renameat_with(&parent, &*self.name, &parent, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.kept = true;
                parent.sync_all()?;
                Ok(true)
            }
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes it now, where a failure can be told.
    pub(super) fn remove(mut self) -> io::Result<()> {
        self.kept = true;
        remove_in(&self.parent, &self.name)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if !self.kept
            && let Err(e) = remove_in(&self.parent, &self.name)
        {
            tracing::warn!("{}: cannot be removed: {e}", self.path().display());
        }
    }
}

/// Stale folders of `parent` with this prefix: made by somebody who died. None if `parent` does not exist.
pub(super) fn stale(parent: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(parent) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if ours && entry.file_type()?.is_dir() && lock_folder(&entry.path())?.is_some() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes the stale folders of `parent` with this prefix, all that can be. One that cannot (its maker's worker
/// may be just dying, or the disk is read-only) is left for the next time, and nobody is kept from working.
pub(super) fn sweep(parent: &Path, prefix: &str) {
    let try_all = || {
        for path in stale(parent, prefix)? {
            // Held while it is removed: its maker may just be beginning.
            let Some(_lock) = lock_folder(&path)? else { continue };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Err(e) = remove_in(parent, name) {
                tracing::warn!("{}: cannot be removed: {e}", path.display());
            }
        }
        Ok::<(), io::Error>(())
    };
    if let Err(e) = try_all() {
        tracing::warn!("{}: cannot be cleaned up: {e}", parent.display());
    }
}

fn remove_in(parent: &Path, name: &str) -> io::Result<()> {
    let parent = File::open(parent)?;
    Ok(remove_tree(parent.as_fd(), name)?)
}

/// The lock of a folder that exists; none if somebody else holds it or the folder is gone.
fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    let folder = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        folder => folder?,
    };
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    Ok((folder.metadata()?.nlink() > 0).then_some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn one_in_use_is_not_stale_and_one_let_go_is_gone() {
        let top = tempfile::tempdir().unwrap();
        let temp = TempFolder::new(top.path(), ".t-").unwrap();
        fs::write(temp.path().join("x"), "").unwrap();
        sweep(top.path(), ".t-");
        assert!(temp.path().join("x").exists());
        drop(temp);
        assert_eq!(names(top.path()), 0);
        fs::create_dir(top.path().join(".t-dead")).unwrap();
        fs::create_dir(top.path().join("other")).unwrap();
        assert_eq!(stale(top.path(), ".t-").unwrap(), [top.path().join(".t-dead")]);
        sweep(top.path(), ".t-");
        assert_eq!(names(top.path()), 1);
    }

    #[test]
    fn it_keeps_its_name_only_where_that_is_free() {
        let top = tempfile::tempdir().unwrap();
        assert!(TempFolder::new(top.path(), ".t-").unwrap().keep("kept").unwrap());
        assert!(!TempFolder::new(top.path(), ".t-").unwrap().keep("kept").unwrap());
        assert_eq!(names(top.path()), 1);
        let gone = TempFolder::of_removed(top.path(), "kept", ".t-").unwrap().unwrap();
        assert!(!top.path().join("kept").exists());
        gone.remove().unwrap();
        assert!(TempFolder::of_removed(top.path(), "kept", ".t-").unwrap().is_none());
        assert_eq!(names(top.path()), 0);
    }
}
