//! Where a copy out of a zone goes: built in a folder of its own beside the target, then renamed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, statat,
};
use tempfile::TempDir;

use crate::output::failure::hinted;

/// Name of the copy in its own folder.
pub(crate) const COPY: &str = "copy";

/// A place in the making; without [`Place::take`] nothing of it stays.
#[derive(Debug)]
pub(crate) struct Place {
    /// Removed with all in it when dropped, before `folder`, through which it is reached.
    making: TempDir,
    /// The same, open.
    below: OwnedFd,
    folder: OwnedFd,
    name: OsString,
    shown: PathBuf,
}

impl Place {
    /// As cp(1) has it: into an existing folder under the source's name, else under the target's own.
    pub(crate) fn find(target: &str, source: Option<&OsStr>) -> Result<Self> {
        let path = Path::new(target);
        let (folder, name) = if path.is_dir() {
            let name = source.with_context(|| {
                format!("{target}: the copy needs a name; give one that is not there yet")
            })?;
            (path, name)
        } else {
            let name = path.file_name().filter(|_| !target.ends_with('/'));
            let name = name.with_context(|| format!("{target}: no such folder"))?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (parent.unwrap_or(Path::new(".")), name)
        };
        Self::within(folder, name)
    }

    fn within(path: &Path, name: &OsStr) -> Result<Self> {
        let said = || path.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty()).with_context(said)?;
        let shown = path.join(name);
        let there = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        if there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
            return Err(hinted(
                format!("{}: exists already and is a folder", shown.display()),
                "remove it first, or choose another target",
            ));
        }
        // By the open folder, whatever becomes of its path. 0700: nobody else looks in before it is whole.
        let own = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let making = tempfile::Builder::new().prefix(".zonectl-cp.").tempdir_in(own);
        let making = making.map_err(plain).with_context(said)?;
        let below = openat(CWD, making.path(), flags | OFlags::NOFOLLOW, Mode::empty()).with_context(said)?;
        Ok(Self { making, below, folder, name: name.to_owned(), shown })
    }

    /// The folder to build in; the copy is to be called [`COPY`] there.
    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.below.as_fd()
    }

    /// Puts the whole copy where it belongs. A file takes the place of a file or link, a folder of nothing.
    pub(crate) fn take(self) -> Result<PathBuf> {
        let said = || self.shown.display().to_string();
        let stat = statat(&self.below, COPY, AtFlags::SYMLINK_NOFOLLOW).with_context(said)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            renameat_with(&self.below, COPY, &self.folder, &self.name, RenameFlags::NOREPLACE)
                .with_context(said)?;
        } else {
            renameat(&self.below, COPY, &self.folder, &self.name).with_context(said)?;
        }
        self.making.close().map_err(plain).with_context(said)?;
        Ok(self.shown)
    }
}

/// The system's error alone: tempfile adds its own path, which is nobody's business, and hides the number below it.
fn plain(error: io::Error) -> io::Error {
    let text = error.to_string();
    let number = text.split_once("(os error ").and_then(|(_, rest)| rest.split_once(')'));
    match number.and_then(|(number, _)| number.parse().ok()) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn goes_where_cp_would_put_it_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| format!("{}/{path}", dir.path().display());
        fs::create_dir(at("old")).unwrap();
        for (target, lands) in [("", "src"), ("new", "new"), ("old", "old/src"), ("src", "src")] {
            let place = Place::find(&at(target), Some(OsStr::new("src"))).unwrap();
            fs::write(place.making.path().join(COPY), target).unwrap();
            assert_eq!(
                place.take().unwrap().canonicalize().unwrap(),
                Path::new(&at(lands)).canonicalize().unwrap()
            );
            assert_eq!(fs::read_to_string(at(lands)).unwrap(), target);
        }
        drop(Place::find(&at("given-up"), None).unwrap());
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["new", "old", "src"]);
    }

    #[test]
    fn what_cannot_be_a_place_is_refused_before_anything_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| format!("{}/{path}", dir.path().display());
        fs::create_dir_all(at("old/src")).unwrap();
        let refused = |path: &str| Place::find(&at(path), Some(OsStr::new("src"))).unwrap_err().to_string();
        assert!(refused("new/").contains("no such folder") && refused("a/b").contains("/a"));
        assert!(refused("old").contains("exists already"));
        // Nothing can be made there, not even by root.
        let refused = Place::find("/proc/self/x", None).unwrap_err();
        assert_eq!(
            crate::output::failure::render(&refused),
            "zonectl: /proc/self: No such file or directory\n"
        );
    }
}
