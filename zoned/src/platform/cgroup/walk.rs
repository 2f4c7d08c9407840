//! Walking a tree of groups that a zone's root may have shaped.
//!
//! It may be thousands of levels deep: longer than any path may be, so every step is made by descriptor, and only
//! one is held at a time. Nothing here follows a link (there are none in a cgroup tree).

use std::{
    ffi::{CString, OsStr},
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat};

/// Processes named in a message.
const SHOWN: usize = 8;

/// Groups looked into for a message.
const LOOKED: usize = 1000;

/// Removes a group and all below it, deepest first.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let mut at = open(CWD, path.as_os_str().as_bytes())?;
    let mut below: Vec<CString> = Vec::new();
    loop {
        if let Some(child) = first_folder(&at)? {
            at = open(&at, child.to_bytes())?;
            below.push(child);
        } else if let Some(name) = below.pop() {
            at = open(&at, b"..")?;
            unlinkat(&at, &name, AtFlags::REMOVEDIR)?;
        } else {
            return fs::remove_dir(path);
        }
    }
}

/// Folders right below a folder, with their names.
pub(super) fn folders(path: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    folders.map(|e| (e.path(), e.file_name().to_string_lossy().into_owned())).collect()
}

/// Processes of a group and those below it, with their names, for a message; empty if there are none.
pub(super) fn processes(path: &Path) -> String {
    let mut found = Vec::new();
    let mut groups = vec![path.to_owned()];
    for _ in 0..LOOKED {
        let Some(group) = groups.pop() else { break };
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(procs.lines().map(describe));
        groups.extend(folders(&group).into_iter().map(|(path, _)| path));
        if found.len() > SHOWN {
            found.truncate(SHOWN);
            found.push("…".into());
            break;
        }
    }
    found.join(", ")
}

/// A pid with the name of its program, which the zone chose: escaped.
fn describe(pid: &str) -> String {
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} ({})", comm.trim_ascii_end().escape_ascii())
}

fn open(at: impl std::os::fd::AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, OsStr::from_bytes(name), flags, Mode::empty())?)
}

fn first_folder(at: &OwnedFd) -> io::Result<Option<CString>> {
    for entry in Dir::read_from(at)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            return Ok(Some(entry.file_name().to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_a_tree_deeper_than_any_path() {
        let base = tempfile::tempdir().unwrap();
        let top = base.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at = open(CWD, top.as_os_str().as_bytes()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "nested", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "beside", Mode::RWXU).unwrap();
            at = open(&at, b"nested").unwrap();
        }
        remove(&top).unwrap();
        assert!(!top.exists());
    }
}
