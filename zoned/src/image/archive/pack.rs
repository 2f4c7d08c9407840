//! Reads a folder into a tar archive, in an order that depends on names alone: the same tree gives the same
//! bytes.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use brands::text::escape;
use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};
use tar::{Builder, EntryType, Header};

use super::content::{Exactly, attributes};

/// As for unpacking, and not into another mount: neither /proc nor what else is mounted below is meant.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Longest path, in bytes: [`super::unpack`] could make no longer one.
const LONGEST: usize = 4095;

/// Ends a long name.
const NUL: &[u8] = &[0];

/// A folder that could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something in it could not be read.
    #[error("{} cannot be read", escape(path))]
    Read {
        /// Path below the folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A path is too long for an archive to be unpacked.
    #[error("{}: a path below the folder is longer than {LONGEST} bytes", escape(.0))]
    TooLong(String),
    /// The archive could not be written.
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Entries.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Devices and sockets left out.
    pub skipped: u64,
}

/// One child of a folder.
#[derive(Clone, Copy, Debug)]
pub struct Only<'a> {
    /// Its name there.
    pub name: &'a [u8],
    /// Its name in the archive.
    pub shown: &'a [u8],
}

/// Packs what is in the folder `dir`, or only one child of it (of any kind) with what is in that, as a tar stream.
///
/// No symbolic link is followed, no other mount entered (a mount point becomes an empty folder), nothing but
/// regular files and folders is opened. What changes while it is read does no harm: a file that shrinks is filled
/// up with zeros, one that grows is cut, what vanishes is left out. `progress` is called after every entry.
pub fn pack(
    dir: BorrowedFd<'_>,
    only: Option<Only<'_>>,
    writer: impl Write,
    progress: &mut dyn FnMut(&Packed) -> io::Result<()>,
) -> Result<Packed, PackError> {
    let mut packer = Packer {
        dir,
        only,
        archive: Builder::new(writer),
        links: HashMap::new(),
        done: Packed::default(),
        waiting: Vec::new(),
        progress,
    };
    match only {
        // Unlike what lies deeper, this must be there.
        Some(child) => packer.read_entry(child.name)?,
        None => packer.root()?,
    }
    while let Some(path) = packer.waiting.pop() {
        packer.entry(path)?;
    }
    let Packer { mut archive, done, .. } = packer;
    archive.finish().map_err(PackError::Write)?;
    archive.into_inner().and_then(|mut w| w.flush()).map_err(PackError::Write)?;
    Ok(done)
}

struct Packer<'a, W: Write> {
    dir: BorrowedFd<'a>,
    only: Option<Only<'a>>,
    archive: Builder<W>,
    /// First path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    done: Packed,
    /// Paths still to pack, the next one last: each folder's in order, before what is beside it.
    waiting: Vec<Vec<u8>>,
    progress: &'a mut dyn FnMut(&Packed) -> io::Result<()>,
}

impl<W: Write> Packer<'_, W> {
    /// The folder itself, as `./`.
    fn root(&mut self) -> Result<(), PackError> {
        let fd = fs::openat(self.dir, c".", folder_flags(), Mode::empty());
        let fd = fd.map_err(|e| unreadable(b".", e))?;
        let stat = fs::fstat(&fd).map_err(|e| unreadable(b".", e))?;
        self.folder(b"./", fd, &stat)
    }

    fn entry(&mut self, path: Vec<u8>) -> Result<(), PackError> {
        if path.len() > LONGEST {
            return Err(PackError::TooLong(String::from_utf8_lossy(&path).into_owned()));
        }
        match self.read_entry(&path) {
            // It vanished, or a folder above it has been replaced.
            Err(PackError::Read { source, .. }) if vanished(&source) => Ok(()),
            other => other,
        }
    }

    fn read_entry(&mut self, path: &[u8]) -> Result<(), PackError> {
        let failed = |e| unreadable(path, e);
        let open = |flags: OFlags| fs::openat2(self.dir, path, flags, Mode::empty(), INSIDE);
        let handle = open(OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC);
        let handle = match handle {
            // Another mount begins here.
            Err(Errno::XDEV) => return self.mount_point(path),
            other => other.map_err(failed)?,
        };
        let stat = fs::fstat(&handle).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let fd = open(folder_flags()).map_err(failed)?;
                self.folder(&[path, b"/"].concat(), fd, &stat)
            }
            FileType::RegularFile => self.file(path, handle, &stat),
            FileType::Symlink => {
                let target = fs::readlinkat(&handle, c"", Vec::new()).map_err(failed)?;
                self.append(path, EntryType::Symlink, &stat, target.as_bytes(), &[], io::empty(), 0)
            }
            FileType::Fifo => self.append(path, EntryType::Fifo, &stat, b"", &[], io::empty(), 0),
            _ => {
                self.done.skipped += 1;
                Ok(())
            }
        }
    }

    fn mount_point(&mut self, path: &[u8]) -> Result<(), PackError> {
        // Looked at from its parent: what is mounted there is not asked, since that may be FUSE.
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = fs::statat(self.dir, path, flags).map_err(|e| unreadable(path, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            self.done.skipped += 1;
            return Ok(());
        }
        self.append(&[path, b"/"].concat(), EntryType::Directory, &stat, b"", &[], io::empty(), 0)
    }

    fn folder(&mut self, path: &[u8], fd: OwnedFd, stat: &Stat) -> Result<(), PackError> {
        let failed = |e| unreadable(path, e);
        let attributes = attributes(fd.as_fd()).map_err(failed)?;
        self.append(path, EntryType::Directory, stat, b"", &attributes, io::empty(), 0)?;
        let prefix = if path == b"./" { b"" } else { path };
        let first = self.waiting.len();
        for entry in Dir::new(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.waiting.push([prefix, name].concat());
            }
        }
        self.waiting[first..].sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }

    fn file(&mut self, path: &[u8], handle: OwnedFd, stat: &Stat) -> Result<(), PackError> {
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity).cloned() {
                return self.append(path, EntryType::Link, stat, &first, &[], io::empty(), 0);
            }
            self.links.insert(identity, path.to_vec());
        }
        // A fifo put in its place meanwhile must not make this wait; it is then found to be another file.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let failed = |e| unreadable(path, e);
        let fd = fs::openat2(self.dir, path, flags, Mode::empty(), INSIDE).map_err(failed)?;
        drop(handle);
        let now = fs::fstat(&fd).map_err(failed)?;
        if (now.st_dev, now.st_ino) != identity {
            return Err(failed(Errno::NOENT));
        }
        let attributes = attributes(fd.as_fd()).map_err(failed)?;
        let size = u64::try_from(now.st_size).unwrap_or(0);
        let mut fault = None;
        let contents = Exactly { file: fd.into(), left: size, fault: &mut fault };
        let result = self.append(path, EntryType::Regular, &now, b"", &attributes, contents, size);
        fault.map_or(result, |e| {
            Err(PackError::Read { path: String::from_utf8_lossy(path).into_owned(), source: e })
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a header")]
    fn append(
        &mut self,
        path: &[u8],
        kind: EntryType,
        stat: &Stat,
        link: &[u8],
        attributes: &[(String, Vec<u8>)],
        contents: impl Read,
        size: u64,
    ) -> Result<(), PackError> {
        let mut header = Header::new_gnu();
        let (path, link) =
            (self.shown(path), if kind == EntryType::Link { self.shown(link) } else { link.into() });
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(size);
        self.write(header, &path, &link, attributes, contents).map_err(PackError::Write)?;
        self.done.entries += 1;
        self.done.bytes += size;
        (self.progress)(&self.done).map_err(PackError::Write)
    }

    /// A path as the archive has it.
    fn shown<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        match self.only.and_then(|only| Some((only, path.strip_prefix(only.name)?))) {
            Some((only, rest)) => [only.shown, rest].concat().into(),
            None => path.into(),
        }
    }

    fn write(
        &mut self,
        mut header: Header,
        path: &[u8],
        link: &[u8],
        attributes: &[(String, Vec<u8>)],
        contents: impl Read,
    ) -> io::Result<()> {
        if !attributes.is_empty() {
            let records = attributes.iter().map(|(name, value)| (&name[..], &value[..]));
            self.archive.append_pax_extensions(records)?;
        }
        // By hand, since the crate's own functions tidy paths up and refuse some.
        let gnu = header.as_gnu_mut().ok_or(io::ErrorKind::InvalidInput)?;
        if !put(&mut gnu.name, path) {
            self.archive.append(&long_header(EntryType::GNULongName, path), path.chain(NUL))?;
        }
        if !put(&mut gnu.linkname, link) {
            self.archive.append(&long_header(EntryType::GNULongLink, link), link.chain(NUL))?;
        }
        header.set_cksum();
        self.archive.append(&header, contents)
    }
}

/// Puts a text into a field, as much of it as fits; whether that is all of it.
fn put(field: &mut [u8; 100], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    length == text.len()
}

fn long_header(kind: EntryType, text: &[u8]) -> Header {
    let mut header = Header::new_gnu();
    if let Some(gnu) = header.as_gnu_mut() {
        put(&mut gnu.name, b"././@LongLink");
    }
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(text.len() as u64 + 1);
    header.set_cksum();
    header
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn unreadable(path: &[u8], e: Errno) -> PackError {
    PackError::Read { path: String::from_utf8_lossy(path).into_owned(), source: e.into() }
}

fn vanished(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];
    gone.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}
