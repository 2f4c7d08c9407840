//! Paths below the folder that is unpacked into, as entries name them.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::Refusal;

/// Never through a symbolic link, never up, never by a magic link of /proc.
pub(super) const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

pub(super) const FOLDER: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A name as a path below the folder: no empty parts, no `.`; empty for the folder itself.
pub(super) fn clean(name: &[u8]) -> Result<Vec<u8>, Refusal> {
    if name.is_empty() || name.contains(&0) {
        return Err(Refusal::BadName);
    }
    if name.starts_with(b"/") {
        return Err(Refusal::Absolute);
    }
    let parts: Vec<&[u8]> = name.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err(Refusal::DotDot);
    }
    let path = parts.join(&b'/');
    if path.len() > 4095 || parts.iter().any(|part| part.len() > 255) {
        return Err(Refusal::TooLong);
    }
    Ok(path)
}

pub(super) fn open_folder(dir: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    fs::openat2(dir, path, FOLDER, Mode::empty(), INSIDE)
}

/// A clean path as its folder and its last name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|b| *b == b'/');
    slash.map_or((&b""[..], path), |slash| (&path[..slash], &path[slash + 1..]))
}

pub(super) fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn kind_of(parent: BorrowedFd<'_>, name: &[u8]) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(stat(parent, name)?.st_mode))
}

pub(super) fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile => "a file",
        _ => "something else",
    }
}
