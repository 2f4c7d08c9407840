//! Removes trees that a zone's root has made.
//!
//! Such a tree may be deeper than the stack or the number of descriptors, hold more names than memory, and forbid
//! everything to everybody. So nothing here recurses: a folder that is not empty is moved up to the top and
//! emptied from there. Two descriptors are open at a time, nothing is read into memory, no link is followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{
        self, AtFlags, Dir, FileType, IFlags, Mode, OFlags, RenameFlags, ioctl_getflags, ioctl_setflags,
        openat, renameat_with, statat, unlinkat,
    },
    io::{Errno, Result},
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the folder `name` in `parent` and all that is in it. It is no error if there is none.
///
/// While it runs, nobody else may put anything into the tree.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &str) -> Result<()> {
    let top = match openat(parent, name, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        top => top?,
    };
    let mut moved = 0;
    while let Some(folder) = first_folder(&top)? {
        empty(&top, &folder, &mut moved)?;
        take_out(top.as_fd(), &folder, AtFlags::REMOVEDIR)?;
    }
    drop(top);
    take_out(parent, std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?.as_c_str(), AtFlags::REMOVEDIR)
}

/// Removes what is no folder from `top` up to the first folder there is in it.
fn first_folder(top: &OwnedFd) -> Result<Option<std::ffi::CString>> {
    loop {
        let mut removed = false;
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            if is_folder(top, name)? {
                return Ok(Some(name.to_owned()));
            }
            take_out(top.as_fd(), name, AtFlags::empty())?;
            removed = true;
        }
        // Removing while reading may have hidden a name from readdir.
        if !removed {
            return Ok(None);
        }
    }
}

/// Empties `folder` of `top`: its files are removed, its folders too if they are empty, else moved to `top`.
fn empty(top: &OwnedFd, folder: &std::ffi::CStr, moved: &mut u64) -> Result<()> {
    loosen(top.as_fd(), folder);
    let fd = openat(top, folder, FOLDER, Mode::empty())?;
    loop {
        let mut found = false;
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            found = true;
            if !is_folder(&fd, name)? {
                take_out(fd.as_fd(), name, AtFlags::empty())?;
                continue;
            }
            match take_out(fd.as_fd(), name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => move_up(&fd, name, top, moved)?,
                done => done?,
            }
        }
        if !found {
            return Ok(());
        }
    }
}

/// Moves a folder to the top, under a name that is free there.
fn move_up(from: &OwnedFd, name: &std::ffi::CStr, top: &OwnedFd, moved: &mut u64) -> Result<()> {
    loosen(from.as_fd(), name);
    loop {
        *moved += 1;
        match renameat_with(from, name, top, format!("{moved}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            done => return done,
        }
    }
}

/// unlinkat(2); what is immutable or append-only is made otherwise first.
fn take_out(parent: BorrowedFd<'_>, name: &std::ffi::CStr, flags: AtFlags) -> Result<()> {
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
fn loosen(parent: BorrowedFd<'_>, name: &std::ffi::CStr) {
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

fn is_folder(parent: &OwnedFd, name: &std::ffi::CStr) -> Result<bool> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn is_dots(name: &std::ffi::CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
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
            set_permissions(path, Permissions::from_mode(0)).unwrap();
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
