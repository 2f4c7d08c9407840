//! Removes trees that a zone's root has made.
//!
//! Such a tree may be deeper than the stack or the number of descriptors, hold more names than memory, and forbid
//! everything to everybody. So nothing here recurses: a folder that is not empty is moved up to the top and
//! emptied from there, by its number. No link is followed, and of names deeper down only one is held at a time.
//!
//! Several threads do it, because they wait rather than work: on a disk mounted with `discard`, ext4 without a
//! journal tells the disk of each file that is freed and waits for it, 2 ms a time on a virtual disk.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{
        self, AtFlags, Dir, FileType, IFlags, Mode, OFlags, RenameFlags, ioctl_getflags, ioctl_setflags,
        openat, renameat_with, statat, unlinkat,
    },
    io::{Errno, Result},
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Threads that remove.
const THREADS: usize = 16;

/// Removes the folder `name` in `parent` and all that is in it. It is no error if there is none.
///
/// While it runs, nobody else may put anything into the tree.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &str) -> Result<()> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let top = match openat(parent, &name, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        top => top?,
    };
    let removal = Removal { top, work: Mutex::default(), changed: Condvar::new() };
    removal.begin()?;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| removal.run());
        }
    });
    removal.locked().failed.map_or(Ok(()), Err)?;
    take_out(parent, &name, AtFlags::REMOVEDIR)
}

/// A removal under way.
struct Removal {
    top: OwnedFd,
    work: Mutex<Work>,
    /// Signalled when there is more to do, or nothing any more.
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    /// Folders of the top to be emptied and removed, by the number that is their name.
    waiting: Vec<u64>,
    /// Number given last.
    given: u64,
    /// Threads that may still find folders.
    busy: usize,
    failed: Option<Errno>,
}

impl Removal {
    fn locked(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the files directly in the top, and gives the folders there their numbers.
    fn begin(&self) -> Result<()> {
        let (mut folders, mut removed) = (Vec::new(), true);
        // Removing while reading may have hidden a name from readdir, so once more until nothing was removed.
        while std::mem::take(&mut removed) {
            folders.clear();
            each(&self.top, |name| {
                if is_folder(&self.top, name)? {
                    folders.push(name.to_owned());
                    return Ok(());
                }
                removed = true;
                take_out(self.top.as_fd(), name, AtFlags::empty())
            })?;
        }
        folders.iter().try_for_each(|name| self.move_up(&self.top, name))
    }

    /// One thread's part: until nothing waits and nobody is busy, or something fails.
    fn run(&self) {
        while let Some(number) = self.next() {
            let done = self.remove(&CString::new(number.to_string()).unwrap_or_default());
            let mut work = self.locked();
            work.busy -= 1;
            work.failed = work.failed.or(done.err());
            drop(work);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<u64> {
        let mut work = self.locked();
        loop {
            if work.failed.is_some() {
                return None;
            }
            if let Some(number) = work.waiting.pop() {
                work.busy += 1;
                return Some(number);
            }
            if work.busy == 0 {
                return None;
            }
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Empties a folder of the top and removes it: its files are removed, its folders too if they are empty, else
    /// moved to the top.
    fn remove(&self, name: &CStr) -> Result<()> {
        loosen(self.top.as_fd(), name);
        let folder = openat(&self.top, name, FOLDER, Mode::empty())?;
        loop {
            let mut found = false;
            each(&folder, |name| {
                found = true;
                if !is_folder(&folder, name)? {
                    return take_out(folder.as_fd(), name, AtFlags::empty());
                }
                match take_out(folder.as_fd(), name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => self.move_up(&folder, name),
                    done => done,
                }
            })?;
            // As in the top.
            if !found {
                return take_out(self.top.as_fd(), name, AtFlags::REMOVEDIR);
            }
        }
    }

    /// Moves a folder to the top, under a number that is free there.
    fn move_up(&self, from: &OwnedFd, name: &CStr) -> Result<()> {
        loosen(from.as_fd(), name);
        loop {
            let number = {
                let mut work = self.locked();
                work.given += 1;
                work.given
            };
            match renameat_with(from, name, &self.top, number.to_string(), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
                Ok(()) => {
                    self.locked().waiting.push(number);
                    self.changed.notify_one();
                    return Ok(());
                }
            }
        }
    }
}

/// Calls `act` with the name of each entry of a folder.
fn each(folder: &OwnedFd, mut act: impl FnMut(&CStr) -> Result<()>) -> Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            act(entry.file_name())?;
        }
    }
    Ok(())
}

/// unlinkat(2); what is immutable or append-only is made otherwise first.
fn take_out(parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<()> {
    match unlinkat(parent, name, flags) {
        Err(Errno::PERM | Errno::ACCESS) => {
            loosen(parent, name);
            unlinkat(parent, name, flags)
        }
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Takes the flags off that forbid removing something or removing from it, and opens a folder's mode for its
/// owner. What cannot be done here shows when the removal fails.
fn loosen(parent: BorrowedFd<'_>, name: &CStr) {
    let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !matches!(kind, FileType::Directory | FileType::RegularFile) {
        return;
    }
    if kind == FileType::Directory && stat.st_mode & 0o700 != 0o700 {
        let _ = fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = openat(parent, name, flags, Mode::empty()) else { return };
    let forbidding = IFlags::IMMUTABLE | IFlags::APPEND;
    if let Ok(set) = ioctl_getflags(&fd)
        && set.intersects(forbidding)
    {
        let _ = ioctl_setflags(&fd, set.difference(forbidding));
    }
}

fn is_folder(parent: &OwnedFd, name: &CStr) -> Result<bool> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, Permissions, create_dir, create_dir_all, read_dir, set_permissions, write},
        os::unix::fs::{PermissionsExt, symlink},
    };

    use rustix::fs::mkdirat;
    use tempfile::{TempDir, tempdir};

    use super::*;

    fn ground() -> (TempDir, File) {
        let top = tempdir().unwrap();
        let fd = File::open(&top).unwrap();
        create_dir(top.path().join("tree")).unwrap();
        (top, fd)
    }

    fn remove(top: &File) {
        remove_tree(top.as_fd(), "tree").unwrap();
        remove_tree(top.as_fd(), "tree").unwrap();
    }

    #[test]
    fn a_tree_deeper_than_any_path_goes_away() {
        let (dir, top) = ground();
        let mut here: OwnedFd = openat(&top, "tree", FOLDER, Mode::empty()).unwrap();
        for depth in 0..5000 {
            // Names that collide with those given at the top.
            let name = if depth % 2 == 0 { "1".into() } else { format!("{depth}") };
            mkdirat(&here, &*name, Mode::RWXU).unwrap();
            here = openat(&here, &*name, FOLDER, Mode::empty()).unwrap();
            drop(openat(&here, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
        }
        drop(here);
        remove(&top);
        assert_eq!(read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn no_link_is_followed() {
        let (dir, top) = ground();
        let outside = dir.path().join("outside");
        create_dir_all(outside.join("kept")).unwrap();
        symlink(&outside, dir.path().join("tree/absolute")).unwrap();
        symlink("../outside", dir.path().join("tree/relative")).unwrap();
        remove(&top);
        assert!(outside.join("kept").is_dir());
        symlink("outside", dir.path().join("tree")).unwrap();
        assert!(remove_tree(top.as_fd(), "tree").is_err());
        assert!(outside.join("kept").is_dir());
    }

    #[test]
    fn what_forbids_everything_goes_away() {
        let (dir, top) = ground();
        let deep = dir.path().join("tree/a/b/c");
        create_dir_all(&deep).unwrap();
        write(deep.join("x"), "").unwrap();
        for path in [&deep, &dir.path().join("tree/a/b"), &dir.path().join("tree/a")] {
            set_permissions(path, Permissions::from_mode(0o000)).unwrap();
        }
        remove(&top);
    }

    #[test]
    fn what_is_immutable_goes_away() {
        let (dir, top) = ground();
        let folder = dir.path().join("tree/a/b");
        create_dir_all(&folder).unwrap();
        write(folder.join("x"), "").unwrap();
        for path in [folder.join("x"), folder] {
            let fd = File::open(&path).unwrap();
            let Ok(flags) = ioctl_getflags(&fd) else {
                eprintln!("skipped: this file system has no file flags");
                return;
            };
            if ioctl_setflags(&fd, flags | IFlags::IMMUTABLE).is_err() {
                eprintln!("skipped: making a file immutable needs CAP_LINUX_IMMUTABLE");
                return;
            }
        }
        remove(&top);
    }

    #[test]
    fn many_names_go_away() {
        let (dir, top) = ground();
        for n in 0..3000 {
            write(dir.path().join(format!("tree/{n}")), "").unwrap();
            if n % 10 == 0 {
                create_dir_all(dir.path().join(format!("tree/d{n}/e/f"))).unwrap();
            }
        }
        remove(&top);
    }
}
