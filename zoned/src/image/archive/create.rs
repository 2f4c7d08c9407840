//! Makes single files, links and fifos: always anew, never through what is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{
    ArchiveError, Owners, Refusal,
    inside::{clean, kind_of, open_folder, split, stat, word},
    members::{Member, Members},
    unpack::Unpacker,
};

/// Owner, mode and time of an entry.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
}

/// A failed system call on the entry at hand.
pub(super) enum Failure {
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

impl Unpacker<'_> {
    pub(super) fn file(
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

    pub(super) fn folder(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
    ) -> Result<(), Failure> {
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

    pub(super) fn symlink(
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
    pub(super) fn hard_link(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
    ) -> Result<(), Failure> {
        let shown = || String::from_utf8_lossy(&member.link).into_owned();
        let target = clean(&member.link).map_err(|_| Refusal::LinkOutside(shown()))?;
        let (folder, file) = split(&target);
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

    pub(super) fn fifo(&mut self, parent: BorrowedFd<'_>, name: &[u8], stamp: &Stamp) -> Result<(), Failure> {
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
    pub(super) fn own(&self, fd: BorrowedFd<'_>, stamp: &Stamp) -> Result<(), Errno> {
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
pub(super) fn times(stamp: &Stamp) -> Timestamps {
    let time = Timespec { tv_sec: stamp.mtime.0, tv_nsec: stamp.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}
