//! Paths inside a zone, resolved below a descriptor of its root.
//!
//! A zone's root decides what its folders contain, so every path is walked by the kernel with RESOLVE_IN_ROOT
//! (openat2(2), Linux 5.6): symbolic links, `..` and absolute targets stay inside, magic links of /proc are
//! refused.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, symlinkat, unlinkat},
    io::Errno,
};

use super::{At, Failure};

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const FOLDER: Mode = Mode::from_raw_mode(0o755);

/// Opens what is at `path`, as a mere location.
pub fn locate(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    openat2(root, within(path), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), INSIDE)
}

/// A path as openat2 wants it here: "." for the root itself.
fn within(path: &Path) -> &Path {
    let relative = path.strip_prefix("/").unwrap_or(path);
    if relative.as_os_str().is_empty() { Path::new(".") } else { relative }
}

/// The folder at `path`, made with its parents where missing.
pub fn ensure_dir(root: impl AsFd, path: &Path) -> Result<OwnedFd, Failure> {
    let root = root.as_fd();
    if let Ok(found) =
        openat2(root, within(path), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), INSIDE)
    {
        return Ok(found);
    }
    let mut so_far = std::path::PathBuf::new();
    let mut here = locate(root, Path::new("/")).at("open", "the zone's root")?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        so_far.push(name);
        here = match locate(root, &so_far) {
            Err(Errno::NOENT) => {
                mkdirat(&here, name, FOLDER).at("make folder", path.display())?;
                locate(root, &so_far)
            }
            other => other,
        }
        .at("open", path.display())?;
    }
    openat(&here, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at("open folder", path.display())
}

/// The folder that holds `path`, made where missing, and the last name of it.
pub fn ensure_parent(root: impl AsFd, path: &Path) -> Result<(OwnedFd, &OsStr), Failure> {
    let name = path.file_name().ok_or(Errno::INVAL).at("use", path.display())?;
    Ok((ensure_dir(root, path.parent().unwrap_or(Path::new("/")))?, name))
}

/// The file at `path`, made empty with its folders where missing.
pub fn ensure_file(root: impl AsFd, path: &Path) -> Result<OwnedFd, Failure> {
    let root = root.as_fd();
    if let Ok(found) = locate(root, path) {
        return Ok(found);
    }
    let (parent, name) = ensure_parent(root, path)?;
    let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(&parent, name, new, Mode::from_raw_mode(0o644)).at("make file", path.display())?;
    openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .at("open", path.display())
}

/// A symbolic link at `path`, in place of whatever plain file or link was there.
pub fn ensure_link(root: impl AsFd, path: &Path, target: &Path) -> Result<(), Failure> {
    let (parent, name) = ensure_parent(root, path)?;
    if statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        unlinkat(&parent, name, AtFlags::empty()).at("replace", path.display())?;
    }
    symlinkat(target, &parent, name).at("link", path.display())
}

/// A file of this text at `path`, in place of a link, or of a file whose first line is the same. Any other is left.
pub fn ensure_text(root: impl AsFd, path: &Path, text: &str) -> Result<(), Failure> {
    let (parent, name) = ensure_parent(root, path)?;
    let mark = text.split_inclusive('\n').next().unwrap_or(text);
    let old = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(&parent, name, old, Mode::empty()) {
        Ok(file) => {
            let mut there = vec![0; text.len() + 1];
            let length = rustix::io::read(&file, &mut there).unwrap_or(0);
            let there = there.get(..length).unwrap_or_default();
            if there == text.as_bytes() || !there.starts_with(mark.as_bytes()) {
                return Ok(());
            }
            unlinkat(&parent, name, AtFlags::empty()).at("replace", path.display())?;
        }
        Err(Errno::NOENT) => {}
        // O_NOFOLLOW met a link (open(2)).
        Err(Errno::LOOP) => unlinkat(&parent, name, AtFlags::empty()).at("replace", path.display())?,
        // A folder, a socket, …: the zone's own business.
        Err(_) => return Ok(()),
    }
    let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&parent, name, new, Mode::from_raw_mode(0o644)).at("make file", path.display())?;
    let written = std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes());
    written.at("write", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_a_zone_lead_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        let zone = tempfile::tempdir().unwrap();
        symlink(outside.path(), zone.path().join("run")).unwrap();
        symlink("../../../..", zone.path().join("up")).unwrap();
        let root = std::fs::File::open(zone.path()).unwrap();
        assert!(ensure_dir(&root, Path::new("/run/a/b")).is_err() || !outside.path().join("a").exists());
        ensure_dir(&root, Path::new("/up/x")).unwrap();
        assert!(zone.path().join("x").is_dir());
        assert!(!outside.path().join("a").exists());
    }

    #[test]
    fn a_text_replaces_its_like_and_links_but_nothing_of_the_zones_own() {
        let outside = tempfile::tempdir().unwrap();
        let zone = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(zone.path()).unwrap();
        let (path, file) = (Path::new("/etc/resolv.conf"), zone.path().join("etc/resolv.conf"));
        let read = || std::fs::read_to_string(&file).unwrap();
        ensure_text(&root, path, "# mark\na\n").unwrap();
        ensure_text(&root, path, "# mark\nb\n").unwrap();
        assert_eq!(read(), "# mark\nb\n");
        let target = outside.path().join("victim");
        std::fs::write(&target, "# mark\n").unwrap();
        std::fs::remove_file(&file).unwrap();
        symlink(&target, &file).unwrap();
        ensure_text(&root, path, "# mark\nc\n").unwrap();
        assert_eq!(
            (read().as_str(), std::fs::read_to_string(&target).unwrap().as_str()),
            ("# mark\nc\n", "# mark\n")
        );
        std::fs::write(&file, "nameserver 192.0.2.1\n").unwrap();
        ensure_text(&root, path, "# mark\nd\n").unwrap();
        assert_eq!(read(), "nameserver 192.0.2.1\n");
    }

    #[test]
    fn a_link_replaces_a_file_and_never_a_folder() {
        let zone = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(zone.path()).unwrap();
        drop(ensure_file(&root, Path::new("/etc/mtab")).unwrap());
        ensure_link(&root, Path::new("/etc/mtab"), Path::new("../proc/mounts")).unwrap();
        assert_eq!(zone.path().join("etc/mtab").read_link().unwrap(), Path::new("../proc/mounts"));
        ensure_dir(&root, Path::new("/etc/dir")).unwrap();
        assert!(ensure_link(&root, Path::new("/etc/dir"), Path::new("x")).is_err());
    }
}
