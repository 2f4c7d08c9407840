//! Writes the members of an archive below an open folder.

use std::{
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{
    Amount, ArchiveError, Cause, MAX_ID, Owners, Refusal, Rules, Summary,
    decode::decode,
    members::{Kind, Member, Members},
};

/// Never through a symbolic link, never up, never by a magic link of /proc.
const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

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

struct Unpacker<'a> {
    dir: BorrowedFd<'a>,
    rules: &'a Rules,
    progress: &'a mut dyn FnMut(Amount),
    summary: Summary,
    /// The parent of the last entry; the next one's is mostly the same.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Folders whose mode, owner and time are set at the end, since writing into them changes the time.
    folders: Vec<(Vec<u8>, Stamp)>,
    names: u64,
    buffer: Vec<u8>,
}

/// Owner, mode and time of an entry.
#[derive(Clone, Copy)]
struct Stamp {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: (i64, u32),
}

/// A failed system call on the entry at hand.
enum Failure {
    Refused(Refusal),
    System(Errno),
    Archive(ArchiveError),
}

impl From<Errno> for Failure {
    fn from(e: Errno) -> Self {
        Failure::System(e)
    }
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Self {
        Failure::Refused(why)
    }
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
        let (parent, name) = path
            .iter()
            .rposition(|b| *b == b'/')
            .map_or((&b""[..], &path[..]), |slash| (&path[..slash], &path[slash + 1..]));
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

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
        stamp: &Stamp,
        members: &mut Members<'_>,
    ) -> Result<(), Failure> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
        let file = in_place(parent, name, create)?;
        match &member.parts {
            None => self.copy(&file, 0, member.size, members)?,
            Some(parts) => {
                for (at, length) in parts {
                    self.copy(&file, *at, *length, members)?;
                }
                fs::ftruncate(&file, member.size)?;
            }
        }
        self.own(file.as_fd(), stamp)?;
        self.attributes(file.as_fd(), member)?;
        fs::futimens(&file, &times(stamp))?;
        Ok(())
    }

    /// Copies contents to an offset of a file.
    fn copy(&mut self, to: &OwnedFd, at: u64, length: u64, from: &mut Members<'_>) -> Result<(), Failure> {
        let (mut at, end) = (at, at + length);
        while at < end {
            let most = self.buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let read = from.read(&mut self.buffer[..most]).map_err(Failure::Archive)?;
            if read == 0 {
                break;
            }
            let mut part = &self.buffer[..read];
            while !part.is_empty() {
                let n = fs_write(to, part, at)?;
                part = &part[n..];
                at += n as u64;
            }
            (self.progress)(self.summary.amount);
        }
        Ok(())
    }

    fn folder(&mut self, parent: BorrowedFd<'_>, name: &[u8], member: &Member) -> Result<(), Failure> {
        match fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => match kind_of(parent, name)? {
                FileType::Directory => {}
                other => return Err(Refusal::InTheWay(word(other).into()).into()),
            },
            Err(e) => return Err(e.into()),
        }
        if !member.attributes.is_empty() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = fs::openat(parent, name, flags, Mode::empty())?;
            self.attributes(fd.as_fd(), member)?;
        }
        Ok(())
    }

    fn symlink(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
        stamp: &Stamp,
    ) -> Result<(), Failure> {
        // Where it points is no matter: whoever follows it later does so inside the zone.
        let target = &member.link[..];
        if target.is_empty() || target.len() > 4095 || target.contains(&0) {
            return Err(Refusal::BadTarget.into());
        }
        in_place(parent, name, || fs::symlinkat(target, parent, name))?;
        if self.rules.owners == Owners::Kept {
            let (uid, gid) = (Uid::from_raw(stamp.uid), Gid::from_raw(stamp.gid));
            fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        fs::utimensat(parent, name, &times(stamp), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// Gives a file or symbolic link that is there already (it is not followed) one more name.
    fn hard_link(&mut self, parent: BorrowedFd<'_>, name: &[u8], member: &Member) -> Result<(), Failure> {
        let shown = || String::from_utf8_lossy(&member.link).into_owned();
        let target = clean(&member.link).map_err(|_| Refusal::LinkOutside(shown()))?;
        let (folder, file) = target
            .iter()
            .rposition(|b| *b == b'/')
            .map_or((&b""[..], &target[..]), |slash| (&target[..slash], &target[slash + 1..]));
        let folder = open_folder(self.dir, folder).map_err(|e| match e {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Failure::from(Refusal::LinkOutside(shown())),
            Errno::NOENT => Refusal::LinkMissing(shown()).into(),
            e => e.into(),
        })?;
        let missing =
            |e| if e == Errno::NOENT { Refusal::LinkMissing(shown()).into() } else { Failure::from(e) };
        let old = stat(folder.as_fd(), file).map_err(missing)?;
        if FileType::from_raw_mode(old.st_mode) == FileType::Directory {
            return Err(Refusal::InTheWay("a folder".into()).into());
        }
        match stat(parent, name) {
            // A link to itself: making room for it would remove its only name.
            Ok(new) if (new.st_dev, new.st_ino) == (old.st_dev, old.st_ino) => return Ok(()),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        in_place(parent, name, || fs::linkat(&folder, file, parent, name, AtFlags::empty()))
    }

    fn fifo(&mut self, parent: BorrowedFd<'_>, name: &[u8], stamp: &Stamp) -> Result<(), Failure> {
        let mode = Mode::RUSR | Mode::WUSR;
        in_place(parent, name, || fs::mknodat(parent, name, FileType::Fifo, mode, 0))?;
        // Does not wait for a writer, and acts on nothing else that somebody may have put there meanwhile.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(parent, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) != FileType::Fifo {
            return Err(Refusal::InTheWay("something else".into()).into());
        }
        self.own(fd.as_fd(), stamp)?;
        fs::futimens(&fd, &times(stamp))?;
        Ok(())
    }

    /// Owner, then mode: chown(2) clears the set-id bits.
    fn own(&self, fd: BorrowedFd<'_>, stamp: &Stamp) -> Result<(), Errno> {
        if self.rules.owners == Owners::Kept {
            fs::fchown(fd, Some(Uid::from_raw(stamp.uid)), Some(Gid::from_raw(stamp.gid)))?;
        }
        fs::fchmod(fd, Mode::from_raw_mode(stamp.mode))
    }

    /// Extended attributes, after the owner: chown(2) and writing clear file capabilities.
    fn attributes(&mut self, fd: BorrowedFd<'_>, member: &Member) -> Result<(), Errno> {
        for (name, value) in &member.attributes {
            let capability = name == b"security.capability" && self.rules.owners == Owners::Kept;
            let keep = (capability || name.starts_with(b"user.")) && !name.contains(&0);
            match keep.then(|| fs::fsetxattr(fd, &name[..], value, XattrFlags::empty())) {
                Some(Ok(())) => {}
                None | Some(Err(Errno::NOTSUP)) => self.summary.attributes_dropped += 1,
                Some(Err(e)) => return Err(e),
            }
        }
        Ok(())
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

/// A name as a path below the folder: no empty parts, no `.`; empty for the folder itself.
fn clean(name: &[u8]) -> Result<Vec<u8>, Refusal> {
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

fn open_folder(dir: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    fs::openat2(dir, path, FOLDER, Mode::empty(), INSIDE)
}

/// What a failure to open a parent means.
fn through(e: Errno) -> Failure {
    match e {
        Errno::LOOP | Errno::NOTDIR => Refusal::ThroughSymlink.into(),
        e => e.into(),
    }
}

fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<fs::Stat, Errno> {
    fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn kind_of(parent: BorrowedFd<'_>, name: &[u8]) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(stat(parent, name)?.st_mode))
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile => "a file",
        _ => "something else",
    }
}

/// Makes something that must not exist yet, after removing what is there unless that is a folder.
fn in_place<T>(
    parent: BorrowedFd<'_>,
    name: &[u8],
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, Failure> {
    match make() {
        Err(Errno::EXIST) => {}
        other => return Ok(other?),
    }
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(make()?),
        Err(Errno::ISDIR) => Err(Refusal::InTheWay("a folder".into()).into()),
        Err(e) => Err(e.into()),
    }
}

fn fs_write(to: &OwnedFd, bytes: &[u8], at: u64) -> Result<usize, Errno> {
    loop {
        match rustix::io::pwrite(to, bytes, at) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Both times set to the entry's: an access time of its own is not kept.
fn times(stamp: &Stamp) -> Timestamps {
    let time = Timespec { tv_sec: stamp.mtime.0, tv_nsec: stamp.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}
