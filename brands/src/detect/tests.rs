//! Roots made of this test's own program, opened as the daemon opens them.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mknodat, openat2};
use tempfile::TempDir;

use super::*;
use crate::elf::Machine;

struct Root(TempDir);

impl RootFs for Root {
    fn open(&self, path: &str) -> io::Result<File> {
        let top = File::open(self.0.path())?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(top, path, flags, Mode::empty(), inside)?.into())
    }
}

impl Root {
    fn new() -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        for folder in ["sbin", "lib", "etc", "usr/lib"] {
            fs::create_dir_all(root.path(folder)).unwrap();
        }
        root
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, bytes: &[u8], mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A root whose /sbin/init leads, by an absolute link, to this test's program; its loader is there too.
    fn bootable() -> Root {
        let root = Root::new();
        fs::copy(std::env::current_exe().unwrap(), root.path("lib/the-init")).unwrap();
        symlink("/lib/the-init", root.path("sbin/init")).unwrap();
        root.write(&loader(), b"", 0o755);
        root
    }

    fn init(&self) -> InitCheck {
        check_init(self, "/sbin/init")
    }
}

fn loader() -> String {
    crate::elf::read(&File::open(std::env::current_exe().unwrap()).unwrap()).unwrap().interpreter.unwrap()
}

fn why(check: InitCheck) -> String {
    assert!(!check.can_boot(), "{check:?}");
    check.to_string()
}

#[test]
fn a_program_with_its_loader_can_boot() {
    let root = Root::bootable();
    let check = root.init();
    assert!(
        check.can_boot() && matches!(&check, InitCheck::Ok { interpreter: Some(i), .. } if *i == loader())
    );
    fs::remove_file(root.path(&loader())).unwrap();
    assert_eq!(
        root.init(),
        InitCheck::MissingInterpreter { path: "/sbin/init".into(), interpreter: loader() }
    );
    assert!(why(root.init()).contains("which the root lacks"));
}

#[test]
fn an_init_is_known_by_what_it_carries() {
    for (mark, kind, version) in [
        ("libsystemd-shared-252.so", InitKind::Systemd, Some("252")),
        ("systemd 215 running in %ssystem mode", InitKind::Systemd, Some("215")),
        ("INIT_VERSION=sysvinit-3.06", InitKind::Sysvinit, Some("3.06")),
        ("BusyBox v1.35.0 (Debian)", InitKind::Busybox, Some("1.35.0")),
        ("com.ubuntu.Upstart0_6", InitKind::Upstart, None),
    ] {
        let root = Root::new();
        // A program small enough to be searched whole: its headers, then the mark.
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        bytes.truncate(4096);
        bytes.extend(b"\0a word on systemd in prose\0");
        bytes.extend(mark.as_bytes());
        root.write("sbin/init", &bytes, 0o755);
        root.write(&loader(), b"", 0o755);
        let check = root.init();
        assert!(
            matches!(&check, InitCheck::Ok { kind: k, version: v, .. } if *k == kind && v.as_deref() == version),
            "{mark}: {check:?}"
        );
        assert_eq!(check.kind(), kind);
    }
    let root = Root::new();
    let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.truncate(4096);
    root.write("sbin/init", &bytes, 0o755);
    root.write(&loader(), b"", 0o755);
    assert_eq!(root.init().kind(), InitKind::Unknown);
}

#[test]
fn each_reason_not_to_boot_is_told() {
    let root = Root::new();
    assert_eq!(root.init(), InitCheck::Missing { path: "/sbin/init".into() });
    assert!(why(root.init()).contains("process.init"));

    symlink("/nowhere", root.path("sbin/init")).unwrap();
    assert!(matches!(root.init(), InitCheck::Missing { .. }));

    fs::remove_file(root.path("sbin/init")).unwrap();
    symlink("init", root.path("sbin/init")).unwrap();
    assert!(why(root.init()).contains("cannot be opened"));

    fs::remove_file(root.path("sbin/init")).unwrap();
    fs::create_dir(root.path("sbin/init")).unwrap();
    assert!(why(root.init()).contains("no regular file"));

    fs::remove_dir(root.path("sbin/init")).unwrap();
    mknodat(CWD, root.path("sbin/init"), FileType::Fifo, Mode::from_raw_mode(0o755), 0).unwrap();
    assert!(why(root.init()).contains("no regular file"), "and does not wait for a writer");

    fs::remove_file(root.path("sbin/init")).unwrap();
    root.write("sbin/init", b"\x7fELF", 0o644);
    assert!(why(root.init()).contains("no permission"));
    root.write("sbin/init", b"\x7fELF", 0o755);
    assert!(why(root.init()).contains("broken or cut off"));
    root.write("sbin/init", b"", 0o755);
    assert!(why(root.init()).contains("neither an ELF program nor a script"));
}

#[test]
fn another_machine_is_told_from_a_missing_loader() {
    let root = Root::bootable();
    let mut file = OpenOptions::new().write(true).open(root.path("lib/the-init")).unwrap();
    std::io::Seek::seek(&mut file, io::SeekFrom::Start(18)).unwrap();
    file.write_all(&22u16.to_le_bytes()).unwrap();
    fs::remove_file(root.path(&loader())).unwrap();
    let check = root.init();
    assert!(
        matches!(&check, InitCheck::WrongMachine { machine: Machine { number: 22, .. }, .. }),
        "{check:?}"
    );
    let text = why(check);
    assert!(text.contains("64-bit S390") && text.contains(&Machine::host()), "{text}");
}

#[test]
fn a_script_needs_its_interpreter_inside_the_root() {
    let root = Root::new();
    root.write("sbin/init", b"#! /bin/sh\x1b -e\nexec x\n", 0o755);
    let missing = root.init();
    assert!(
        matches!(&missing, InitCheck::MissingInterpreter { interpreter, .. } if interpreter == "/bin/sh\\u{1b}")
    );
    root.write("sbin/init", b"#! /bin/sh -e\nexec x\n", 0o755);
    assert!(
        matches!(root.init(), InitCheck::MissingInterpreter { .. }),
        "the host's /bin/sh is not the root's"
    );
    root.write("bin/sh", b"", 0o755);
    assert_eq!(root.init(), InitCheck::Script { path: "/sbin/init".into(), interpreter: "/bin/sh".into() });
}

#[test]
fn links_do_not_leave_the_root() {
    let root = Root::new();
    symlink("../../../../../../../../../../proc/self/exe", root.path("sbin/init")).unwrap();
    assert!(matches!(root.init(), InitCheck::Missing { .. }));
    symlink("/etc/hostname", root.path("etc/os-release")).unwrap();
    assert!(Path::new("/etc/hostname").exists() && detect(&root, "/sbin/init").os.is_none());
}

#[test]
fn the_brand_follows_from_os_and_init() {
    let root = Root::new();
    let brand = |root: &Root| suggest(&detect(root, "/sbin/init"));
    assert_eq!(brand(&root), "native");
    root.write("usr/lib/os-release", b"ID=raspbian\nID_LIKE=debian\nVERSION_ID=\"12\"\n", 0o644);
    symlink("../usr/lib/os-release", root.path("etc/os-release")).unwrap();
    assert_eq!(brand(&root), "native", "without systemd it gains nothing by debian");
    let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.truncate(4096);
    bytes.extend(b"libsystemd-core-252.so");
    root.write("sbin/init", &bytes, 0o755);
    root.write(&loader(), b"", 0o755);
    assert_eq!(brand(&root), "debian");
    let os = detect(&root, "/sbin/init").os.unwrap();
    assert_eq!((os.id.as_str(), os.version.as_deref()), ("raspbian", Some("12")));
}
