//! Packs a file or folder of the host's as a tar stream for a zone.
//!
//! Every path below the source is opened by openat2(2) without following a link, so that whoever may write there
//! (a zone with that folder among its `fs`, say) cannot have anything else of the host's copied instead.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, openat, openat2,
        readlinkat, statat,
    },
    io::Errno,
};
use tar::{Builder, EntryType, Header};

use super::Tally;
use crate::output::failure::hinted;

const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// What is copied: a child of an open folder.
#[derive(Debug)]
pub(crate) struct Source {
    folder: OwnedFd,
    /// Its real name in that folder; none for `/`.
    real: Option<OsString>,
    /// The name it was called by.
    name: Option<OsString>,
    /// The path it was called by.
    path: PathBuf,
}

/// File systems whose files are made up by the kernel as they are read: proc, sysfs, cgroup, cgroup2, debugfs,
/// tracefs, securityfs, bpf; <linux/magic.h>.
const MADE_UP: [i64; 8] =
    [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0xcafe_4a11];

impl Source {
    /// Finds it. A symbolic link is copied as one, unless a slash after its name says what it leads to.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        let name = path.file_name().map(OsStr::to_owned);
        let itself = name.is_some() && !path.as_os_str().as_bytes().ends_with(b"/");
        let (folder, real) = if itself {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (parent.unwrap_or(Path::new(".")).to_owned(), name.clone())
        } else {
            let whole = path.canonicalize().with_context(shown)?;
            (whole.parent().unwrap_or(&whole).to_owned(), whole.file_name().map(OsStr::to_owned))
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, &folder, flags, Mode::empty()).with_context(shown)?;
        let at = real.as_deref().unwrap_or(OsStr::new("."));
        let stat = statat(&folder, at, AtFlags::SYMLINK_NOFOLLOW).with_context(shown)?;
        if let Some(why) = uncopied(FileType::from_raw_mode(stat.st_mode)) {
            bail!("{}: {why} cannot be copied", shown());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if made_up(openat(&folder, at, flags, Mode::empty()).with_context(shown)?) {
            return Err(hinted(
                format!("{}: is made up by the kernel as it is read, and no file to copy", shown()),
                "write what it says to a file first, by cat, and copy that",
            ));
        }
        Ok(Self { folder, name: name.or_else(|| real.clone()), real, path: path.to_owned() })
    }

    /// What it is called; none for `/`.
    pub(crate) fn name(&self) -> Option<&OsStr> {
        self.name.as_deref()
    }
}

/// What a device or a socket is called.
fn uncopied(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        FileType::Socket => Some("a socket"),
        _ => None,
    }
}

fn made_up(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|system| MADE_UP.contains(&system.f_type))
}

/// Packs the source under the name `shown`. `done` counts bytes as they go.
pub(crate) fn pack(source: &Source, shown: &OsStr, writer: impl Write, done: &AtomicU64) -> Result<Tally> {
    let mut packer = Packer {
        source,
        shown,
        archive: Builder::new(writer),
        links: HashMap::new(),
        tally: Tally::default(),
        done,
        waiting: vec![PathBuf::new()],
    };
    while let Some(path) = packer.waiting.pop() {
        packer.entry(&path).with_context(|| below(&source.path, &path).display().to_string())?;
    }
    let tally = packer.tally;
    packer.archive.into_inner().and_then(|mut writer| writer.flush())?;
    Ok(tally)
}

struct Packer<'a, W: Write> {
    source: &'a Source,
    shown: &'a OsStr,
    archive: Builder<W>,
    /// First name in the archive of each file with several.
    links: HashMap<(u64, u64), PathBuf>,
    tally: Tally,
    done: &'a AtomicU64,
    /// Paths below the source still to go; empty is the source itself.
    waiting: Vec<PathBuf>,
}

impl<W: Write> Packer<'_, W> {
    /// A path below the source as seen from the open folder.
    fn here(&self, path: &Path) -> PathBuf {
        let base = self.source.real.as_deref().unwrap_or(OsStr::new("."));
        below(Path::new(base), path)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat2(&self.source.folder, self.here(path), flags | OFlags::CLOEXEC, Mode::empty(), INSIDE)
    }

    fn entry(&mut self, path: &Path) -> Result<()> {
        let handle = match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            // Removed since its folder was read.
            Err(Errno::NOENT) if path != Path::new("") => return Ok(()),
            handle => handle?,
        };
        let stat = fstat(&handle)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(path, &stat),
            FileType::RegularFile => self.file(path, &stat),
            FileType::Symlink => {
                let target = readlinkat(&handle, c"", Vec::new())?;
                self.link(path, EntryType::Symlink, &stat, Path::new(OsStr::from_bytes(target.as_bytes())))
            }
            FileType::Fifo => self.append(path, EntryType::Fifo, &stat, 0, io::empty()),
            _ => {
                self.tally.skipped += 1;
                Ok(())
            }
        }
    }

    fn folder(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        let folder = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        self.append(path, EntryType::Directory, stat, 0, io::empty())?;
        if made_up(&folder) {
            self.tally.skipped += 1;
            return Ok(());
        }
        for entry in Dir::new(folder)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                self.waiting.push(path.join(OsString::from_vec(name)));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&identity).cloned() {
            return self.link(path, EntryType::Link, stat, &first);
        }
        // Should a fifo stand there by now, this must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.open(path, flags)?);
        let now = fstat(&file)?;
        if (now.st_dev, now.st_ino) != identity {
            bail!("was replaced while it was copied");
        }
        if now.st_nlink > 1 {
            self.links.insert(identity, below(Path::new(self.shown), path));
        }
        let size = u64::try_from(now.st_size)?;
        let mut contents = Counted { file: file.take(size), done: self.done };
        self.append(path, EntryType::Regular, &now, size, &mut contents)?;
        if contents.file.limit() > 0 {
            bail!("shrank while it was copied");
        }
        self.tally.bytes += size;
        Ok(())
    }

    fn link(&mut self, path: &Path, kind: EntryType, stat: &Stat, target: &Path) -> Result<()> {
        let mut header = header(kind, stat, 0);
        self.archive.append_link(&mut header, below(Path::new(self.shown), path), target)?;
        self.tally.entries += 1;
        Ok(())
    }

    fn append(
        &mut self,
        path: &Path,
        kind: EntryType,
        stat: &Stat,
        size: u64,
        contents: impl Read,
    ) -> Result<()> {
        let mut header = header(kind, stat, size);
        self.archive.append_data(&mut header, below(Path::new(self.shown), path), contents)?;
        self.tally.entries += 1;
        Ok(())
    }
}

fn below(base: &Path, path: &Path) -> PathBuf {
    // Joining an empty path would add a slash.
    if path.as_os_str().is_empty() { base.to_owned() } else { base.join(path) }
}

fn header(kind: EntryType, stat: &Stat, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    // Set-id bits are the host's affair, and so are its owners.
    header.set_mode(stat.st_mode & 0o1777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Counts what is read.
struct Counted<'a> {
    file: io::Take<File>,
    done: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.done.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
