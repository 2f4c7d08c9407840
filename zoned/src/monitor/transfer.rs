//! Copies into and out of a zone: the inside end, in a process of the zone's, so that whatever a path leads to is
//! the zone's own.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{
    image::archive::{self, Only, Rules},
    platform::{At, Failure},
};

/// Unpacks what comes from the pipe into the folder `path`. `begun` is called when that is open.
pub fn unpack(
    path: &Path,
    pipe: OwnedFd,
    begun: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let folder = open_folder(path)?;
    begun()?;
    let rules = Rules { root: false, ..Rules::default() };
    let done = archive::unpack(File::from(pipe), folder.as_fd(), &rules, &mut |_| {});
    done.map(drop).map_err(chain).at("copy into", path.to_string_lossy().escape_default())
}

/// Packs `path` into the pipe, by its last name; all that is in it, for the root. `begun` is called when it
/// is about to begin.
pub fn pack(path: &Path, pipe: OwnedFd, begun: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let name = path.file_name().map(OsStrExt::as_bytes);
    let folder = match (name, path.parent()) {
        (Some(_), Some(parent)) => open_folder(parent)?,
        _ => open_folder(path)?,
    };
    begun()?;
    let only = name.map(|name| Only { name, shown: name });
    let done = archive::pack(folder.as_fd(), only, File::from(pipe), &mut |_| Ok(()));
    done.map(drop).map_err(chain).at("copy", path.to_string_lossy().escape_default())
}

fn open_folder(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).at("open folder", path.to_string_lossy().escape_default())
}

/// An error with its causes in one line.
fn chain(error: impl std::error::Error) -> io::Error {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    io::Error::other(text)
}
