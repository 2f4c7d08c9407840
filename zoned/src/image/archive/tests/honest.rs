//! What a userland's archive holds arrives as it was.

use std::os::unix::fs::MetadataExt;

use super::*;

#[test]
fn files_folders_links_and_fifos() {
    let ground = Ground::new();
    let archive = Maker::default()
        .folder("./")
        .folder("usr/")
        .file("usr/./a", b"hello")
        .symlink("bin", "usr/bin")
        .symlink("up", "../../etc")
        .symlink("abs", "/etc/passwd")
        .link("usr/b", "./usr/a")
        .entry(EntryType::Fifo, "pipe", "", b"")
        .file("without/parents/c", b"")
        .end();
    let summary = ground.unpack(&archive).unwrap();
    assert_eq!(summary.amount, Amount { bytes: 5, entries: 9 });
    assert_eq!(ground.read("usr/b"), "hello");
    let meta = |path: &str| ground.dir().join(path).symlink_metadata().unwrap();
    assert_eq!(meta("usr/a").ino(), meta("usr/b").ino());
    assert_eq!(ground.dir().join("up").read_link().unwrap(), Path::new("../../etc"));
    assert_eq!(meta("pipe").mode() & libc::S_IFMT, libc::S_IFIFO);
    assert_eq!(mode(&ground.dir().join("without")), 0o755);
    for path in ["", "usr", "usr/a", "bin", "pipe"] {
        assert_eq!(meta(path).mtime(), 1_000_000_000, "{path}");
    }
}

#[test]
fn all_forms_of_compression() {
    use std::io::Write;
    let plain = Maker::default().file("a", &[7; 100_000]).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    // Compressed in two halves, as parallel compressors do.
    let (left, right) = plain.split_at(50_000);
    let frames = [zstd::encode_all(left, 1).unwrap(), zstd::encode_all(right, 1).unwrap()].concat();
    for bytes in [plain.clone(), gzip, xz.finish().unwrap(), zstd::encode_all(&plain[..], 1).unwrap(), frames]
    {
        let ground = Ground::new();
        ground.unpack(&bytes).unwrap();
        assert_eq!(fs::read(ground.dir().join("a")).unwrap(), [7; 100_000]);
    }
}

#[test]
fn long_names_in_both_forms() {
    let (path, target) = (format!("{}/{}", "d".repeat(200), "f".repeat(255)), "t/".repeat(1500));
    let gnu = Maker::default()
        .entry(EntryType::GNULongName, "././@LongLink", "", format!("{path}\0").as_bytes())
        .entry(EntryType::GNULongLink, "././@LongLink", "", format!("{target}\0").as_bytes())
        .symlink("cut", "cut");
    let records = [("path", path.as_bytes()), ("linkpath", target.as_bytes())];
    let pax = Maker::default().pax(&records).symlink("cut", "cut");
    for archive in [gnu, pax] {
        let ground = Ground::new();
        ground.unpack(&archive.end()).unwrap();
        assert_eq!(ground.dir().join(&path).read_link().unwrap().to_str(), Some(&*target));
    }
}

#[test]
fn pax_sizes_and_times() {
    let ground = Ground::new();
    let records: [(&str, &[u8]); 3] = [("size", b"5"), ("mtime", b"-1.5"), ("comment", b"\n")];
    let file = Maker::default().pax(&records).with(EntryType::Regular, "a", "", b"hello", |h| h.set_size(0));
    ground.unpack(&file.file("b", b"x").end()).unwrap();
    assert_eq!((ground.read("a"), ground.read("b")), ("hello".into(), "x".into()));
    let meta = fs::metadata(ground.dir().join("a")).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-2, 500_000_000));
}

#[test]
fn holes_of_sparse_files() {
    let ground = Ground::new();
    let number = |field: &mut [u8; 12], n: u64| field.copy_from_slice(format!("{n:011o}\0").as_bytes());
    let data = [[b'a'; 512], [b'b'; 512]].concat();
    let sparse = Maker::default().with(EntryType::GNUSparse, "s", "", &data, |h| {
        let gnu = h.as_gnu_mut().unwrap();
        for (part, at) in gnu.sparse.iter_mut().zip([4096, 1 << 20]) {
            number(&mut part.offset, at);
            number(&mut part.numbytes, 512);
        }
        gnu.set_real_size(2 << 20);
    });
    ground.unpack(&sparse.file("after", b"x").end()).unwrap();
    let bytes = fs::read(ground.dir().join("s")).unwrap();
    assert_eq!(bytes.len(), 2 << 20);
    assert_eq!((bytes[0], bytes[4096], bytes[5000], bytes[1 << 20]), (0, b'a', 0, b'b'));
    assert!(fs::metadata(ground.dir().join("s")).unwrap().blocks() < 100);
    assert!(ground.exists("after"));
}

#[test]
fn what_gnu_tar_writes() {
    let Ok(tar) = std::process::Command::new("tar").arg("--version").output() else {
        eprintln!("skipped: there is no tar here");
        return;
    };
    assert!(tar.status.success());
    let from = tempfile::tempdir().unwrap();
    let long = from.path().join("l".repeat(200));
    fs::create_dir(&long).unwrap();
    fs::write(long.join("n".repeat(250)), "deep").unwrap();
    let hole = fs::File::create(from.path().join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&hole, b"end", (1 << 20) - 3).unwrap();
    for options in
        [&["--format=gnu"][..], &["--format=gnu", "-S"], &["--format=pax"], &["--format=pax", "-z"]]
    {
        let mut command = std::process::Command::new("tar");
        let out = command.arg("-C").arg(from.path()).args(options).args(["-cf", "-", "."]).output().unwrap();
        let ground = Ground::new();
        // The owner is whoever runs the test.
        let rules = Rules { owners: Owners::Caller, ..rules() };
        ground.unpack_by(&out.stdout, &rules).unwrap_or_else(|e| panic!("{options:?}: {}", whole(&e)));
        assert_eq!(ground.read(&format!("{}/{}", "l".repeat(200), "n".repeat(250))), "deep");
        assert!(fs::read(ground.dir().join("hole")).unwrap() == fs::read(from.path().join("hole")).unwrap());
    }
}

#[test]
fn the_last_of_two_entries_wins() {
    let ground = Ground::new();
    let set = |mode| move |h: &mut Header| h.set_mode(mode);
    let archive = Maker::default()
        .with(EntryType::Directory, "d", "", b"", set(0o700))
        .file("d/x", b"1")
        .with(EntryType::Directory, "d/", "", b"", set(0o750))
        .file("d/x", b"22")
        .end();
    ground.unpack(&archive).unwrap();
    assert_eq!(mode(&ground.dir().join("d")), 0o750);
    assert_eq!(ground.read("d/x"), "22");
}

#[test]
fn folders_that_forbid_writing_are_filled_all_the_same() {
    let ground = Ground::new();
    let closed = |h: &mut Header| h.set_mode(0o500);
    let archive = Maker::default().with(EntryType::Directory, "d", "", b"", closed).file("d/x", b"1").end();
    ground.unpack(&archive).unwrap();
    assert_eq!(mode(&ground.dir().join("d")), 0o500);
    fs::set_permissions(ground.dir().join("d"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn owners_set_id_bits_and_capabilities_are_kept() {
    if without_root("keeping owners") {
        return;
    }
    // cap_net_raw=ep, version 2.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.user.note", b"a\nb"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.system.posix_acl_access", b"?"),
    ];
    let suid = |h: &mut Header| {
        h.set_mode(0o6755);
        h.set_uid(7);
        h.set_gid(65_535);
    };
    let archive = Maker::default().pax(&records).with(EntryType::Regular, "x", "", b"data", suid).end();
    let ground = Ground::new();
    let summary = ground.unpack(&archive).unwrap();
    let path = ground.dir().join("x");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid(), mode(&path)), (7, 65_535, 0o6755));
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&path, "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..length], capability);
    assert!(rustix::fs::getxattr(&path, "trusted.overlay.opaque", &mut value[..]).is_err());
    if summary.attributes_dropped == 2 {
        let length = rustix::fs::getxattr(&path, "user.note", &mut value[..]).unwrap();
        assert_eq!(value[..length], *b"a\nb");
    } else {
        assert_eq!(summary.attributes_dropped, 3, "this file system has no user attributes");
    }
    // For the caller, what was meant for another owner is dropped.
    let ground = Ground::new();
    ground.unpack_by(&archive, &Rules { owners: Owners::Caller, ..rules() }).unwrap();
    let path = ground.dir().join("x");
    assert_eq!((fs::metadata(&path).unwrap().uid(), mode(&path)), (0, 0o755));
    assert!(rustix::fs::getxattr(&path, "security.capability", &mut value[..]).is_err());
}
