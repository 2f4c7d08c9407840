//! Goes through a root by several threads.
//!
//! What waits to be looked at is a list of paths, the last found first, so that it stays short however wide a root is.

use std::{
    ffi::CStr,
    fs::File,
    io::Read,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat, openat2, statx,
};

use super::{Bounds, tally::Tally};
use crate::elf::{self, ElfError};

/// A file of fewer bytes is no ELF file.
const LEAST: i64 = 52;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// What the threads share.
struct Shared<'a> {
    top: &'a OwnedFd,
    /// The mount that the root is: what is mounted in it is not looked at.
    mount: u64,
    bounds: &'a Bounds,
    end: Instant,
    files: AtomicU64,
    work: Mutex<Work>,
    more: Condvar,
}

/// Folders to be looked at, without a slash at their ends; empty for the root.
#[derive(Default)]
struct Work {
    folders: Vec<Vec<u8>>,
    /// Threads that look at one now, and may find more.
    busy: usize,
    cut_short: Option<String>,
}

/// Looks at all of a root: what was found, and why that is not all.
pub(super) fn walk(top: &OwnedFd, bounds: &Bounds) -> (Tally, Option<String>) {
    let shared = Shared {
        top,
        mount: mount(top).unwrap_or(0),
        bounds,
        end: Instant::now() + bounds.time,
        files: AtomicU64::new(0),
        work: Mutex::new(Work { folders: vec![Vec::new()], ..Work::default() }),
        more: Condvar::new(),
    };
    let tally = thread::scope(|scope| {
        // Where no more threads may be had this one does it all.
        let others: Vec<_> = (1..bounds.threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, || shared.take_part()).ok())
            .collect();
        let mut tally = shared.take_part();
        others.into_iter().filter_map(|other| other.join().ok()).for_each(|other| tally.merge(other));
        tally
    });
    let cut_short = shared.work.into_inner().unwrap_or_else(PoisonError::into_inner).cut_short;
    (tally, cut_short)
}

impl Shared<'_> {
    fn take_part(&self) -> Tally {
        let mut tally = Tally::default();
        while let Some(folder) = self.next() {
            let found = self.look(&folder, &mut tally);
            let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            work.folders.extend(found);
            work.busy -= 1;
            self.more.notify_all();
        }
        tally
    }

    fn next(&self) -> Option<Vec<u8>> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_over(&mut work) {
                work.folders.clear();
            }
            if let Some(folder) = work.folders.pop() {
                work.busy += 1;
                return Some(folder);
            }
            if work.busy == 0 {
                return None;
            }
            work = self.more.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_over(&self, work: &mut Work) -> bool {
        let why = if self.files.load(Ordering::Relaxed) > self.bounds.files {
            format!("it has more than {} files", self.bounds.files)
        } else if Instant::now() > self.end {
            format!("it takes more than {} s", self.bounds.time.as_secs())
        } else {
            return work.cut_short.is_some();
        };
        work.cut_short.get_or_insert(why);
        true
    }

    /// The folders in a folder; the files in it are looked at.
    fn look(&self, path: &[u8], tally: &mut Tally) -> Vec<Vec<u8>> {
        let Some(folder) = self.open(path) else { return Vec::new() };
        let Ok(entries) = Dir::read_from(&folder) else { return Vec::new() };
        let mut folders = Vec::new();
        for entry in entries.map_while(Result::ok) {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            tally.saw_file();
            if self.files.fetch_add(1, Ordering::Relaxed) > self.bounds.files || Instant::now() > self.end {
                break;
            }
            match entry.file_type() {
                FileType::Directory => folders.push(join(path, name)),
                FileType::Symlink => tally.saw_name(&name.to_string_lossy()),
                // Some file systems do not say in the folder.
                FileType::RegularFile | FileType::Unknown => self.look_at(&folder, path, name, tally),
                _ => {}
            }
        }
        folders
    }

    /// A folder below the root, reached through no link.
    fn open(&self, path: &[u8]) -> Option<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let folder = openat2(self.top, path, FOLDER, Mode::empty(), below).ok()?;
        (mount(&folder)? == self.mount).then_some(folder)
    }

    fn look_at(&self, folder: &OwnedFd, path: &[u8], name: &CStr, tally: &mut Tally) {
        let Ok(file) = openat(folder.as_fd(), name, FILE, Mode::empty()).map(File::from) else { return };
        let Ok(stat) = fstat(&file) else { return };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || stat.st_size < LEAST
            || !is_elf(&file)
        {
            return;
        }
        let (path, name) = (join(path, name), name.to_string_lossy());
        let path = format!("/{}", String::from_utf8_lossy(&path));
        tally.saw_name(&name);
        match elf::inspect(&file) {
            Ok(facts) => tally.saw(&path, &name, &facts),
            Err(ElfError::NotElf | ElfError::NotLoadable) => {}
            Err(e) => tally.saw_damaged(&path, &e),
        }
    }
}

/// The mount that a folder is seen by (statx(2), Linux 5.8). Its device would differ between subvolumes of one file system.
fn mount(folder: &OwnedFd) -> Option<u64> {
    let status = statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (status.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(status.stx_mnt_id)
}

/// One read for each of the many files that are none.
fn is_elf(mut file: &File) -> bool {
    let mut start = [0; 4];
    file.read_exact(&mut start).is_ok() && start == *b"\x7fELF"
}

fn join(folder: &[u8], name: &CStr) -> Vec<u8> {
    let mut path = folder.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend(name.to_bytes());
    path
}
