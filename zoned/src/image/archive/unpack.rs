//! Writes the members of an archive below an open folder.

use std::{
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use super::{
    Amount, ArchiveError, Cause, MAX_ID, Owners, Refusal, Rules, Summary,
    create::{Failure, Stamp, times},
    decode::decode,
    inside::{INSIDE, clean, open_folder, split},
    members::{Kind, Member, Members},
};

/// Bytes copied at once.
const CHUNK: usize = 256 << 10;

/// Unpacks the archive in `reader` (plain, gzip, xz or zstd, told by its first bytes) into the folder `dir`.
///
/// `dir` must be open for searching; `progress` is called after every entry and every chunk of contents. Whatever
/// the archive says, nothing outside of `dir` is read, written or made, and nothing that was in it is followed.
/// A file, link or fifo replaces what is in its place unless that is a folder; a folder is merged with a folder
/// and replaces nothing. After an error `dir` holds a part of the archive.
pub fn unpack(
    reader: impl Read,
    dir: BorrowedFd<'_>,
    rules: &Rules,
    progress: &mut dyn FnMut(Amount),
) -> Result<Summary, ArchiveError> {
    let mut members = Members::new(decode(reader)?, rules);
    let mut unpacker = Unpacker::new(dir, rules, progress);
    while let Some(member) = members.next()? {
        unpacker.count(&member)?;
        unpacker.member(&member, &mut members)?;
        (unpacker.progress)(unpacker.summary.amount);
    }
    unpacker.finish_folders()?;
    Ok(unpacker.summary)
}

/// An archive being unpacked.
pub(super) struct Unpacker<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) rules: &'a Rules,
    pub(super) progress: &'a mut dyn FnMut(Amount),
    pub(super) summary: Summary,
    /// The parent of the last entry; the next one's is mostly the same.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Folders whose mode, owner and time are set at the end, since writing into them changes the time.
    folders: Vec<(Vec<u8>, Stamp)>,
    names: u64,
    pub(super) buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(dir: BorrowedFd<'a>, rules: &'a Rules, progress: &'a mut dyn FnMut(Amount)) -> Self {
        let (parent, folders, buffer) = (None, Vec::new(), vec![0; CHUNK]);
        Unpacker { dir, rules, progress, summary: Summary::default(), parent, folders, names: 0, buffer }
    }

    /// Counts an entry before anything is made of it.
    fn count(&mut self, member: &Member) -> Result<(), ArchiveError> {
        let amount = &mut self.summary.amount;
        amount.entries += 1;
        amount.bytes = amount.bytes.saturating_add(if member.kind == Kind::File { member.size } else { 0 });
        let over = |of: &str, limit| Err(ArchiveError::TooLarge { of: of.into(), limit });
        if amount.entries > self.rules.entries {
            return over("entries", self.rules.entries);
        }
        if amount.bytes > self.rules.bytes {
            return over("bytes", self.rules.bytes);
        }
        Ok(())
    }

    fn member(&mut self, member: &Member, members: &mut Members<'_>) -> Result<(), ArchiveError> {
        let name = || String::from_utf8_lossy(&member.path).into_owned();
        self.place(member, members).map_err(|e| match e {
            Failure::Refused(why) => ArchiveError::Refused { path: name(), why },
            Failure::System(e) => ArchiveError::Write { path: name(), source: e.into() },
            Failure::Archive(e) => e,
        })
    }

    fn place(&mut self, member: &Member, members: &mut Members<'_>) -> Result<(), Failure> {
        let path = clean(&member.path)?;
        if member.kind == Kind::Device {
            if path.starts_with(b"dev/") {
                self.summary.devices_skipped += 1;
                return Ok(());
            }
            return Err(Refusal::Device.into());
        }
        let stamp = self.stamp(member)?;
        if path.is_empty() {
            return match member.kind {
                Kind::Folder if self.rules.root => self.remember(path, stamp),
                Kind::Folder => Ok(()),
                _ => Err(Refusal::BadName.into()),
            };
        }
        let (parent, name) = split(&path);
        // Taken out while it is used, put back when the entry is done.
        let held = self.open_parent(parent)?;
        let fd = held.1.as_fd();
        match member.kind {
            Kind::File => self.file(fd, name, member, &stamp, members)?,
            Kind::Folder => self.folder(fd, name, member)?,
            Kind::Symlink => self.symlink(fd, name, member, &stamp)?,
            Kind::HardLink => self.hard_link(fd, name, member)?,
            Kind::Fifo => self.fifo(fd, name, &stamp)?,
            Kind::Unknown(kind) => return Err(Refusal::Kind(kind).into()),
            Kind::Device => {}
        }
        self.parent = Some(held);
        if member.kind == Kind::Folder { self.remember(path, stamp) } else { Ok(()) }
    }

    fn stamp(&self, member: &Member) -> Result<Stamp, Refusal> {
        let kept = self.rules.owners == Owners::Kept;
        for id in [member.uid, member.gid] {
            if kept && id > MAX_ID {
                return Err(Refusal::Owner(id));
            }
        }
        // Both fit, being at most MAX_ID, or are not used.
        let (uid, gid) = (member.uid as u32, member.gid as u32);
        let mode = if kept { member.mode } else { member.mode & 0o1777 };
        Ok(Stamp { uid, gid, mode, mtime: member.mtime })
    }

    fn remember(&mut self, path: Vec<u8>, stamp: Stamp) -> Result<(), Failure> {
        self.names += path.len() as u64;
        if self.names > self.rules.names {
            let limit = self.rules.names;
            return Err(Failure::Archive(ArchiveError::TooLarge {
                of: "bytes of folder names".into(),
                limit,
            }));
        }
        self.folders.push((path, stamp));
        Ok(())
    }

    /// The folder an entry goes into; what is missing of it is made, root's and 0755.
    fn open_parent(&mut self, path: &[u8]) -> Result<(Vec<u8>, OwnedFd), Failure> {
        if let Some(held) = self.parent.take_if(|(held, _)| held == path) {
            return Ok(held);
        }
        let fd = match open_folder(self.dir, path) {
            Err(Errno::NOENT) => self.make_parents(path)?,
            other => other.map_err(through)?,
        };
        Ok((path.to_vec(), fd))
    }

    fn make_parents(&self, path: &[u8]) -> Result<OwnedFd, Failure> {
        let mut fd = open_folder(self.dir, b"")?;
        for part in path.split(|b| *b == b'/') {
            match fs::mkdirat(&fd, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            fd = open_folder(fd.as_fd(), part).map_err(through)?;
        }
        Ok(fd)
    }

    /// Modes, owners and times of the folders, the innermost first.
    fn finish_folders(&mut self) -> Result<(), ArchiveError> {
        self.parent = None;
        let mut folders = std::mem::take(&mut self.folders);
        // Stable: of two entries for one folder the later one wins.
        folders.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, stamp) in &folders {
            self.finish_folder(path, stamp).map_err(|e| ArchiveError::Write {
                path: String::from_utf8_lossy(path).into_owned(),
                source: Cause::from(e),
            })?;
        }
        Ok(())
    }

    fn finish_folder(&self, path: &[u8], stamp: &Stamp) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = if path.is_empty() { b"." } else { path };
        let fd = fs::openat2(self.dir, path, flags, Mode::empty(), INSIDE)?;
        self.own(fd.as_fd(), stamp)?;
        fs::futimens(&fd, &times(stamp))
    }
}

/// What a failure to open a parent means.
fn through(e: Errno) -> Failure {
    match e {
        Errno::LOOP | Errno::NOTDIR => Refusal::ThroughSymlink.into(),
        e => e.into(),
    }
}
