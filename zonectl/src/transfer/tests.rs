//! Both halves together, and streams that no honest packer writes.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::atomic::AtomicU64,
};

use rustix::fs::{CWD, FileType, Mode, mkfifoat, mknodat};
use tar::{Builder, EntryType, Header};

use super::*;

/// A folder to unpack in, in a folder that must stay as it is.
struct Ground {
    around: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let around = tempfile::tempdir().unwrap();
        fs::create_dir(around.path().join("in")).unwrap();
        fs::write(around.path().join("victim"), "untouched").unwrap();
        Self { around }
    }

    fn copy(&self) -> std::path::PathBuf {
        self.around.path().join("in/copy")
    }

    fn unpack(&self, stream: impl Read) -> Result<Tally, Fault> {
        let folder = fs::File::open(self.around.path().join("in")).unwrap();
        let done = unpack(stream, std::os::fd::AsFd::as_fd(&folder), &AtomicU64::new(0));
        assert_eq!(fs::read_to_string(self.around.path().join("victim")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(self.around.path()).unwrap().count(), 2, "something was made outside");
        done
    }

    /// What a stream is refused for.
    fn refused(&self, entries: &[(EntryType, &str, &str)]) -> String {
        format!("{:#}", anyhow::Error::from(self.unpack(&stream(entries)[..]).unwrap_err()))
    }
}

/// A stream with names as they are, which tar's own functions would tidy up. Files hold `x`.
fn stream(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, link) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o6755);
        header.set_mtime(1_000_000_000);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        let contents = if *kind == EntryType::Regular { "x" } else { "" };
        header.set_size(contents.len() as u64);
        header.set_cksum();
        builder.append(&header, contents.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

use EntryType::{Char, Directory, Fifo, GNUSparse, Link, Regular, Symlink};

#[test]
fn what_goes_in_comes_out() {
    let from = tempfile::tempdir().unwrap();
    let at = |path: &str| from.path().join("tree").join(path);
    fs::create_dir_all(at("a/locked")).unwrap();
    fs::write(at("a/file"), vec![7; 300_000]).unwrap();
    fs::hard_link(at("a/file"), at("same")).unwrap();
    fs::write(at("a/locked/deep"), "d").unwrap();
    fs::write(at(&"n".repeat(180)), "long name").unwrap();
    symlink("/etc/shadow", at("link")).unwrap();
    mkfifoat(CWD, at("fifo"), Mode::RUSR).unwrap();
    fs::set_permissions(at("a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(at("a/locked"), fs::Permissions::from_mode(0o500)).unwrap();
    let mtime = fs::metadata(at("a/locked")).unwrap().mtime();

    let source = Source::open(&from.path().join("tree/a/../../tree")).unwrap();
    assert_eq!(source.name(), Some(OsStr::new("tree")));
    let (mut bytes, done) = (Vec::new(), AtomicU64::new(0));
    let packed = pack(&source, OsStr::new("renamed"), &mut bytes, &done).unwrap();
    assert_eq!((packed.bytes, done.into_inner()), (300_010, 300_010));

    let ground = Ground::new();
    let tally = ground.unpack(&bytes[..]).unwrap();
    assert_eq!(tally, packed);
    let copy = ground.copy();
    assert_eq!(fs::read(copy.join("a/file")).unwrap(), vec![7; 300_000]);
    let (file, same) = (fs::metadata(copy.join("a/file")).unwrap(), fs::metadata(copy.join("same")).unwrap());
    assert_eq!(
        (file.ino(), file.mode() & 0o7777),
        (same.ino(), 0o751),
        "hard link kept, set-uid bit dropped"
    );
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/shadow"));
    assert!(fs::symlink_metadata(copy.join("fifo")).unwrap().file_type().is_fifo());
    let locked = fs::metadata(copy.join("a/locked")).unwrap();
    assert_eq!((locked.mode() & 0o7777, locked.mtime()), (0o500, mtime));
    assert_eq!(fs::read_to_string(copy.join("n".repeat(180))).unwrap(), "long name");
}

/// What a copy of a source is, once it is there.
fn copied(source: &Path) -> (Ground, std::path::PathBuf) {
    let source = Source::open(source).unwrap();
    let mut bytes = Vec::new();
    pack(&source, OsStr::new("x"), &mut bytes, &AtomicU64::new(0)).unwrap();
    let ground = Ground::new();
    ground.unpack(&bytes[..]).unwrap();
    let copy = ground.copy();
    (ground, copy)
}

#[test]
fn a_link_is_copied_as_one_unless_a_slash_follows() {
    let from = tempfile::tempdir().unwrap();
    let at = |path: &str| from.path().join(path);
    fs::create_dir(at("tree")).unwrap();
    fs::write(at("tree/file"), "content").unwrap();
    symlink("tree", at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let (_ground, copy) = copied(&at("tree/file"));
    assert_eq!(fs::read_to_string(copy).unwrap(), "content");
    for link in ["link", "dangling"] {
        let (_ground, copy) = copied(&at(link));
        assert!(fs::symlink_metadata(copy).unwrap().is_symlink(), "{link}");
    }
    let (_ground, copy) = copied(&at("link/"));
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), "content");
    assert_eq!(Source::open(&at("link/")).unwrap().name(), Some(OsStr::new("link")));
    assert_eq!(Source::open(&at("tree/..")).unwrap().name(), from.path().file_name());
    assert!(Source::open(&at("absent")).is_err());
}

#[test]
fn nothing_leads_out() {
    let up = [(Directory, "a", ""), (Regular, "a/../../victim", "")];
    assert!(Ground::new().refused(&up).contains("leads upwards"));
    assert!(Ground::new().refused(&[(Regular, "/etc/x", "")]).contains("absolute"));
    assert!(Ground::new().refused(&[(Regular, "a", ""), (Regular, "b", "")]).contains("beside"));
    let through = [(Directory, "a", ""), (Symlink, "a/up", "../.."), (Regular, "a/up/victim", "")];
    assert!(Ground::new().refused(&through).contains("a/up/victim: cannot be written"));
    let onto = [(Directory, "a", ""), (Symlink, "a/v", "../../victim"), (Regular, "a/v", "")];
    assert!(Ground::new().refused(&onto).contains("File exists"));
    let root = [(Symlink, "a", ".."), (Regular, "a/victim", "")];
    assert!(Ground::new().refused(&root).contains("cannot be written"));
    let hard = [(Directory, "a", ""), (Link, "a/h", "../victim")];
    assert!(Ground::new().refused(&hard).contains("leads upwards"));
    let by_link = [(Directory, "a", ""), (Symlink, "a/up", "../.."), (Link, "a/h", "a/up/victim")];
    assert!(Ground::new().refused(&by_link).contains("cannot be written"));
    let orphan = [(Directory, "a", ""), (Regular, "a/b/c", "")];
    assert!(Ground::new().refused(&orphan).contains("No such file"));
}

#[test]
fn a_hard_link_to_a_link_is_a_link_and_not_what_it_names() {
    let ground = Ground::new();
    let entries = [(Directory, "a", ""), (Symlink, "a/l", "../../victim"), (Link, "a/h", "a/l")];
    ground.unpack(&stream(&entries)[..]).unwrap();
    assert!(fs::symlink_metadata(ground.copy().join("h")).unwrap().is_symlink());
}

#[test]
fn devices_are_left_out_and_odd_kinds_refused() {
    let ground = Ground::new();
    let entries = [(Directory, "a", ""), (Char, "a/null", ""), (Fifo, "a/f", ""), (Regular, "a/su", "")];
    let tally = ground.unpack(&stream(&entries)[..]).unwrap();
    assert_eq!((tally.entries, tally.skipped), (3, 1));
    assert!(!ground.copy().join("null").exists());
    let file = fs::metadata(ground.copy().join("su")).unwrap();
    assert_eq!((file.mode() & 0o7777, file.mtime()), (0o755, 1_000_000_000));
    assert!(Ground::new().refused(&[(GNUSparse, "a", "")]).contains("cannot be read"));
    assert!(Ground::new().refused(&[(EntryType::new(b'Z'), "a", "")]).contains("no such entry"));
}

#[test]
fn names_in_messages_are_escaped() {
    let text = Ground::new().refused(&[(Regular, "/\x1b[2J\u{202e}", "")]);
    assert!(text.starts_with("/\\u{1b}[2J\\u{202e}: refused"), "{text}");
}

#[test]
fn an_endless_name_takes_no_endless_memory() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(8 << 30);
    header.as_gnu_mut().unwrap().name[..4].copy_from_slice(b"long");
    header.set_cksum();
    let endless = header.as_bytes().chain(io::repeat(b'a'));
    assert!(matches!(Ground::new().unpack(endless), Err(Fault::Stream(_))));
}

#[test]
fn a_cut_stream_is_an_error_of_the_stream() {
    let whole = stream(&[(Directory, "a", ""), (Regular, "a/f", "")]);
    for length in [100, 600, 1100, 1200] {
        assert!(matches!(Ground::new().unpack(&whole[..length]), Err(Fault::Stream(_))), "{length}");
    }
    assert_eq!(Ground::new().unpack(io::empty()).unwrap(), Tally::default());
}

#[test]
fn sockets_and_devices_of_the_host_stay_there() {
    let from = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(from.path().join("socket")).unwrap();
    // Needs CAP_MKNOD; without it one kind less is tried.
    let device = mknodat(CWD, from.path().join("null"), FileType::CharacterDevice, Mode::RUSR, 0x103).is_ok();
    let source = Source::open(from.path()).unwrap();
    let tally = pack(&source, OsStr::new("x"), io::sink(), &AtomicU64::new(0)).unwrap();
    assert_eq!((tally.entries, tally.skipped), (1, 1 + u64::from(device)));
}

#[test]
fn a_folder_that_becomes_a_link_is_not_followed() {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir_all(from.path().join("tree/sub")).unwrap();
    fs::write(from.path().join("secret"), "s").unwrap();
    let source = Source::open(&from.path().join("tree")).unwrap();
    // Between the reading of `tree` and that of `sub` whoever may write there replaces it.
    struct Swap<'a>(&'a Path, Vec<u8>);
    impl io::Write for Swap<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if fs::remove_dir(self.0.join("tree/sub")).is_ok() {
                symlink("..", self.0.join("tree/sub"))?;
            }
            self.1.extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = Swap(from.path(), Vec::new());
    pack(&source, OsStr::new("x"), &mut writer, &AtomicU64::new(0)).unwrap();
    let ground = Ground::new();
    ground.unpack(&writer.1[..]).unwrap();
    assert!(fs::symlink_metadata(ground.copy().join("sub")).unwrap().is_symlink());
}
