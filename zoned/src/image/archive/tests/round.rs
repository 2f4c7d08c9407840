//! Folders packed and unpacked again.

use std::{
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::PathBuf,
};

use super::*;

fn packed(dir: &Path, only: Option<Only<'_>>) -> Result<(Vec<u8>, Packed), PackError> {
    let dir = fs::File::open(dir).unwrap();
    let mut bytes = Vec::new();
    let packed = pack(dir.as_fd(), only, &mut bytes, &mut |_| Ok(()))?;
    Ok((bytes, packed))
}

/// Everything below a folder with kind, mode, size, contents or target, and owner.
fn listing(dir: &Path) -> Vec<(PathBuf, u32, u64, Vec<u8>, i64)> {
    let mut all = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            path.read_link().unwrap().into_os_string().as_bytes().to_vec()
        } else {
            fs::read(&path).unwrap()
        };
        all.push((path.strip_prefix(dir).unwrap().into(), meta.mode(), meta.nlink(), content, meta.mtime()));
    }
    all.sort();
    all
}

fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("b/c")).unwrap();
    fs::create_dir_all(at("b.d")).unwrap();
    fs::create_dir_all(at(&"long/".repeat(100))).unwrap();
    fs::write(at("b/c/file"), [1; 70_000]).unwrap();
    fs::write(at("a"), "a").unwrap();
    fs::write(at(&"n".repeat(255)), "").unwrap();
    fs::hard_link(at("a"), at("b/hard")).unwrap();
    std::os::unix::fs::symlink("../../secret", at("b/odd//link")).unwrap_err();
    std::os::unix::fs::symlink("..//./secret/", at("b/link")).unwrap();
    std::os::unix::fs::symlink("t".repeat(3000), at("long/link")).unwrap();
    dir
}

#[test]
fn what_is_packed_comes_out_the_same() {
    let from = tree();
    let (bytes, packed) = packed(from.path(), None).unwrap();
    let ground = Ground::new();
    let summary = ground.unpack(&bytes).unwrap();
    assert_eq!((summary.amount.entries, summary.amount.bytes), (packed.entries, packed.bytes));
    assert_eq!(listing(from.path()), listing(&ground.dir()));
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let (one, two) = (tree(), tempfile::tempdir().unwrap());
    let (bytes, _) = packed(one.path(), None).unwrap();
    let dir = fs::File::open(two.path()).unwrap();
    unpack(&bytes[..], dir.as_fd(), &rules(), &mut |_| {}).unwrap();
    assert!(bytes == packed(two.path(), None).unwrap().0);
}

#[test]
fn one_child_under_another_name() {
    let from = tree();
    let only = Only { name: b"b", shown: b"copy" };
    let (bytes, _) = packed(from.path(), Some(only)).unwrap();
    let ground = Ground::new();
    ground.unpack(&bytes).unwrap();
    assert_eq!(ground.read("copy/hard"), "a");
    assert!(!ground.exists("b") && !ground.exists("a") && ground.exists("copy/c/file"));
    assert!(matches!(packed_missing(from.path()), PackError::Read { .. }));
}

fn packed_missing(dir: &Path) -> PackError {
    packed(dir, Some(Only { name: b"absent", shown: b"absent" })).unwrap_err()
}

#[test]
fn sockets_are_left_out_and_fifos_not_opened() {
    let from = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(from.path().join("socket")).unwrap();
    nix::unistd::mkfifo(&from.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (bytes, packed) = packed(from.path(), None).unwrap();
    assert_eq!((packed.entries, packed.skipped), (2, 1));
    let ground = Ground::new();
    ground.unpack(&bytes).unwrap();
    assert!(ground.exists("pipe") && !ground.exists("socket"));
}

#[test]
fn other_mounts_are_not_entered() {
    // /proc is one on every Linux; its root is packed as a folder without what is mounted below.
    let root = fs::File::open("/").unwrap();
    let mut names = Vec::new();
    let only = Only { name: b"proc", shown: b"proc" };
    pack(root.as_fd(), Some(only), &mut names, &mut |_| Ok(())).unwrap();
    let ground = Ground::new();
    ground.unpack_by(&names, &Rules { owners: Owners::Caller, ..rules() }).unwrap();
    assert_eq!(fs::read_dir(ground.dir().join("proc")).unwrap().count(), 0);
}

#[test]
fn attributes_survive() {
    let from = tempfile::tempdir().unwrap();
    let path = from.path().join("x");
    fs::write(&path, "x").unwrap();
    let set = rustix::fs::setxattr(&path, "user.note", b"a\n=\0b", rustix::fs::XattrFlags::empty());
    if set.is_err() {
        eprintln!("skipped: no user attributes on the file system of {}", from.path().display());
        return;
    }
    let (bytes, _) = packed(from.path(), None).unwrap();
    let ground = Ground::new();
    ground.unpack(&bytes).unwrap();
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(ground.dir().join("x"), "user.note", &mut value[..]).unwrap();
    assert_eq!(value[..length], *b"a\n=\0b");
}
