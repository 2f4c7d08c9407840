//! Unpacks what comes out of a zone: a tar stream its root may have written.
//!
//! Everything becomes the caller's, without set-id bits. Every parent folder is opened by openat2(2) below the
//! target without following a link, and the last name is only ever created anew: the target may lie in a folder
//! that a zone can write to while this runs. Devices are left out. Memory is bounded whatever the stream says.

use std::{
    cell::Cell,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{
        AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW, fchmod, futimens, linkat,
        mkdirat, mknodat, openat, openat2, symlinkat, utimensat,
    },
    io::Errno,
};
use tar::{Archive, Entry, EntryType};

use super::{Tally, place::COPY};
use crate::output::escape;

const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Most bytes read to come to the next entry: headers and long names, which are held in memory.
const HEADERS: u64 = 1 << 20;

/// Most bytes of folder names, which are held until the end.
const NAMES: usize = 64 << 20;

/// Bytes copied at once.
const CHUNK: usize = 128 << 10;

/// Why unpacking ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The stream could not be read on: what the zone's side says of it matters more.
    #[error("the zone's archive cannot be read: {0}")]
    Stream(#[source] io::Error),
    /// An entry that has no place in a copy.
    #[error("{}: refused: {why}", escape::line(path))]
    Refused {
        /// Its path in the archive.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something could not be made on the host.
    #[error("{}: cannot be written", escape::line(path))]
    Write {
        /// Its path in the archive.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Unpacks into `folder`, under the name [`COPY`]; `done` counts bytes as they come.
pub(crate) fn unpack(stream: impl Read, folder: BorrowedFd<'_>, done: &AtomicU64) -> Result<Tally, Fault> {
    let left = Rc::new(Cell::new(HEADERS));
    let mut archive = Archive::new(Budget { stream, left: Rc::clone(&left) });
    let mut unpacker =
        Unpacker { folder, root: None, folders: Vec::new(), names: 0, tally: Tally::default(), done };
    for entry in archive.entries().map_err(Fault::Stream)? {
        let mut entry = entry.map_err(Fault::Stream)?;
        left.set(u64::MAX);
        unpacker.entry(&mut entry)?;
        // The rest of it is read before the next one's headers are counted.
        io::copy(&mut entry, &mut io::sink()).map_err(Fault::Stream)?;
        left.set(HEADERS);
    }
    unpacker.finish_folders()?;
    // The other side is not to see its reader go before it is done.
    left.set(HEADERS);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(Fault::Stream)?;
    Ok(unpacker.tally)
}

/// A stream of which only so much may be read.
struct Budget<R> {
    stream: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left.get()).unwrap_or(usize::MAX));
        if most == 0 && !into.is_empty() {
            return Err(io::Error::other("its headers are too long"));
        }
        let n = self.stream.read(&mut into[..most])?;
        self.left.set(self.left.get() - n as u64);
        Ok(n)
    }
}

/// What is set on a folder when all is in it.
struct Folder {
    path: PathBuf,
    mode: Mode,
    mtime: i64,
}

struct Unpacker<'a> {
    folder: BorrowedFd<'a>,
    /// First name of every path; `Some(None)` for an archive of `./`.
    root: Option<Option<OsString>>,
    folders: Vec<Folder>,
    names: usize,
    tally: Tally,
    done: &'a AtomicU64,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Fault> {
        let stored = entry.path_bytes().into_owned();
        let named = || String::from_utf8_lossy(&stored).into_owned();
        let refused = |why| Fault::Refused { path: named(), why };
        let path = self.within(OsStr::from_bytes(&stored)).map_err(refused)?;
        let header = entry.header();
        let mode = Mode::from_raw_mode(header.mode().map_err(Fault::Stream)? & 0o1777);
        let mtime = i64::try_from(header.mtime().map_err(Fault::Stream)?).unwrap_or_default();
        let made = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => self.file(&path, entry, mode, mtime),
            EntryType::Directory => self.make_folder(path, mode, mtime),
            EntryType::Symlink => self.symlink(&path, &entry.link_name_bytes().unwrap_or_default(), mtime),
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = self.within(OsStr::from_bytes(&target)).map_err(refused)?;
                self.hard_link(&path, &target)
            }
            EntryType::Fifo => self.fifo(&path, mode, mtime),
            EntryType::Char | EntryType::Block => {
                self.tally.skipped += 1;
                return Ok(());
            }
            _ => return Err(refused("an archive of a copy holds no such entry")),
        };
        self.tally.entries += 1;
        made.map_err(|failed| match failed {
            Failed::Stream(source) => Fault::Stream(source),
            Failed::Host(source) => Fault::Write { path: named(), source },
        })
    }

    /// Where a path of the archive goes: its first name, the same for all, becomes [`COPY`].
    fn within(&mut self, stored: &OsStr) -> Result<PathBuf, &'static str> {
        let mut names = Vec::new();
        for part in Path::new(stored).components() {
            match part {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                Component::ParentDir => return Err("it leads upwards"),
                Component::RootDir | Component::Prefix(_) => return Err("it is absolute"),
            }
        }
        let first = names.first().map(|name| (*name).to_owned());
        let rest = match self.root.get_or_insert_with(|| first.clone()) {
            None => &names[..],
            Some(root) if Some(&*root) == first.as_ref() => &names[1..],
            Some(_) => return Err("it lies beside what was asked for"),
        };
        Ok(std::iter::once(OsStr::new(COPY)).chain(rest.iter().copied()).collect())
    }

    /// The open parent of a path, and its last name.
    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Failed> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok((openat2(self.folder, parent, flags, Mode::empty(), INSIDE)?, name))
    }

    fn file(&mut self, path: &Path, contents: &mut impl Read, mode: Mode, mtime: i64) -> Result<(), Failed> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = contents.read(&mut buffer).map_err(Failed::Stream)?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).map_err(Failed::Host)?;
            self.done.fetch_add(n as u64, Ordering::Relaxed);
            self.tally.bytes += n as u64;
        }
        fchmod(&file, mode)?;
        Ok(futimens(&file, &times(mtime))?)
    }

    fn make_folder(&mut self, path: PathBuf, mode: Mode, mtime: i64) -> Result<(), Failed> {
        let (parent, name) = self.parent(&path)?;
        mkdirat(parent, name, Mode::RWXU)?;
        self.names += path.as_os_str().len();
        if self.names > NAMES {
            return Err(Failed::Host(io::Error::other("the archive holds too many folders")));
        }
        // Its own mode might forbid to write into it, and its time changes with each entry.
        self.folders.push(Folder { path, mode, mtime });
        Ok(())
    }

    fn symlink(&self, path: &Path, target: &[u8], mtime: i64) -> Result<(), Failed> {
        let (parent, name) = self.parent(path)?;
        symlinkat(OsStr::from_bytes(target), &parent, name)?;
        Ok(utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn hard_link(&self, path: &Path, target: &Path) -> Result<(), Failed> {
        let (parent, name) = self.parent(path)?;
        let (target_parent, target_name) = self.parent(target)?;
        // Without AT_SYMLINK_FOLLOW a link is linked itself.
        Ok(linkat(target_parent, target_name, parent, name, AtFlags::empty())?)
    }

    fn fifo(&self, path: &Path, mode: Mode, mtime: i64) -> Result<(), Failed> {
        let (parent, name) = self.parent(path)?;
        mknodat(&parent, name, rustix::fs::FileType::Fifo, mode, 0)?;
        Ok(utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets the folders' modes and times, the deepest first.
    fn finish_folders(&mut self) -> Result<(), Fault> {
        for folder in self.folders.drain(..).rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let set = openat2(self.folder, &folder.path, flags, Mode::empty(), INSIDE).and_then(|open| {
                fchmod(&open, folder.mode)?;
                futimens(&open, &times(folder.mtime))
            });
            let path = folder.path.display().to_string();
            set.map_err(|e| Fault::Write { path, source: e.into() })?;
        }
        Ok(())
    }
}

/// A step that failed: reading the stream, or on the host.
enum Failed {
    Stream(io::Error),
    Host(io::Error),
}

impl From<Errno> for Failed {
    fn from(e: Errno) -> Self {
        Failed::Host(e.into())
    }
}

fn times(mtime: i64) -> Timestamps {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Timestamps { last_access: now, last_modification: Timespec { tv_sec: mtime, tv_nsec: 0 } }
}
