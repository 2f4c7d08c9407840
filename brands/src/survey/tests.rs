//! Roots made here, honest and hostile.
#![expect(clippy::print_stdout, reason = "a test says why it skips, and one what it found")]

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mknodat, openat2};
use tempfile::TempDir;

use super::*;
use crate::{
    detect::InitCheck,
    elf::{Form, specimen},
};

struct Root(TempDir);

impl RootFs for Root {
    fn open(&self, path: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(self.top(), path, flags, Mode::empty(), inside)?.into())
    }
}

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().unwrap())
    }

    fn top(&self) -> OwnedFd {
        File::open(self.0.path()).unwrap().into()
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path(path), bytes).unwrap();
    }

    fn survey(&self) -> Survey {
        self.within(&Bounds::default())
    }

    fn within(&self, bounds: &Bounds) -> Survey {
        survey(self, &self.top(), "/sbin/init", bounds)
    }
}

fn own() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

#[test]
fn an_honest_root_is_told_whole() {
    let root = Root::new();
    root.write("etc/debian_version", b"11.9\n");
    root.write("etc/os-release", b"ID=debian\nVERSION_ID=\"11\"\n");
    root.write("var/lib/dpkg/status", b"");
    root.write("usr/bin/readme", &[b'x'; 4096]);
    fs::copy(own(), root.path("bin/own")).unwrap();
    root.write("bin/old", &specimen::old_caller());
    let told = root.survey();
    let detection = told.detection.unwrap();
    assert_eq!(detection.os.unwrap().id, "debian");
    assert_eq!(detection.init, InitCheck::Missing { path: "/sbin/init".into() });
    assert_eq!((told.records.len(), told.records[0].says.as_str()), (1, "11.9"));
    assert_eq!(told.package_managers, [PackageManager::Dpkg]);
    assert_eq!(told.cut_short, None);
    assert_eq!(told.elf.kinds.iter().map(|kind| kind.files).sum::<u64>(), 2);
    assert_eq!(told.elf.glibc.unwrap().path, "/bin/own");
    assert_eq!(told.elf.static_programs, 1);
    // Nothing that it wants is there.
    assert!(
        told.elf
            .missing
            .examples
            .iter()
            .any(|missing| missing.name == "libc.so.6" && missing.example == "/bin/own")
    );
    assert_eq!(told.elf.missing_loaders.count, 1);
    let caller = Caller { path: "/bin/old".into(), forms: vec![(Form::Call, 1)] };
    assert_eq!(told.elf.vsyscalls.examples.into_iter().collect::<Vec<_>>(), [caller]);
}

#[test]
fn a_single_file_is_told_without_a_root() {
    let told = survey_file(&File::open(own()).unwrap(), "own").unwrap();
    assert_eq!((told.detection, told.elf.files, told.elf.kinds.len()), (None, 1, 1));
    assert_eq!((told.elf.missing.count, told.elf.missing_loaders.count), (0, 0));
    assert!(told.elf.glibc.is_some());
    let root = Root::new();
    root.write("script", b"#!/bin/sh\n");
    let script = File::open(root.path("script")).unwrap();
    assert_eq!(survey_file(&script, "script").unwrap_err().to_string(), "it is no ELF file");
}

#[test]
fn a_library_is_there_by_its_file_its_link_or_its_own_name() {
    let root = Root::new();
    fs::copy(own(), root.path("bin/own")).unwrap();
    let wanted = |root: &Root| {
        root.survey().elf.missing.examples.into_iter().map(|missing| missing.name).collect::<Vec<_>>()
    };
    assert!(wanted(&root).contains(&"libc.so.6".to_owned()));
    symlink("/nowhere", root.path("lib/libc.so.6")).unwrap();
    assert!(!wanted(&root).contains(&"libc.so.6".to_owned()));
}

#[test]
fn a_hostile_root_leads_nowhere_and_does_no_harm() {
    let root = Root::new();
    // Out of it, in a circle, something that blocks, and what is no name.
    symlink("/bin", root.path("bin")).unwrap();
    symlink("..", root.path("up")).unwrap();
    symlink("circle", root.path("circle")).unwrap();
    let fifo = root.path("fifo");
    mknodat(CWD, fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let strange = std::path::Path::new(std::str::from_utf8(b"a\x1b[2J\nb").unwrap());
    fs::write(root.0.path().join(strange), [&b"\x7fELF\x02\x01\x01"[..], &[0xff; 200]].concat()).unwrap();
    let told = root.survey();
    assert_eq!(told.elf.kinds, []);
    assert_eq!(told.elf.files, 5);
    let damaged: Vec<_> = told.elf.damaged.examples.iter().collect();
    assert!(damaged.is_empty() || damaged[0].starts_with("/a\\u{1b}[2J\\nb: "), "{damaged:?}");
}

#[test]
fn what_is_mounted_in_it_is_not_looked_at() {
    let root = Root::new();
    fs::create_dir(root.path("inner")).unwrap();
    let script = "mount -t tmpfs none $ROOT/inner && cp $0 $ROOT/inner/own && exec $0 --ignored --exact \
                  survey::tests::part_of_a_test --nocapture";
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["-m", "sh", "-c", script]).arg(own()).env("ROOT", root.0.path());
    let Ok(done) = unshare.output() else { return println!("skipped: there is no unshare here") };
    let said = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() && !rustix::process::geteuid().is_root() {
        return println!("skipped: mounting takes root");
    }
    // The folder itself, and nothing in it.
    assert!(said.contains("files 1, programs 0"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
#[ignore = "a part of another test"]
fn part_of_a_test() {
    let top = File::open(std::env::var("ROOT").unwrap()).unwrap().into();
    let (tally, _) = walk::walk(&top, &Bounds::default());
    let told = tally.told(|_| false);
    println!("files {}, programs {}", told.files, told.kinds.len());
}

#[test]
fn deep_and_wide_roots_are_bounded() {
    let root = Root::new();
    // Deeper than a path may be long.
    let mut folder = root.top();
    let long = "deep".repeat(50);
    for _ in 0..300 {
        rustix::fs::mkdirat(&folder, &long, Mode::RWXU).unwrap();
        folder =
            rustix::fs::openat(&folder, &long, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    assert!((10..100).contains(&root.survey().elf.files));
    let wide = Root::new();
    (0..300).for_each(|index| wide.write(&format!("{index}"), b""));
    let told = wide.within(&Bounds { files: 100, ..Bounds::default() });
    assert!(told.elf.files < 110 && told.cut_short.unwrap().contains("more than 100 files"));
    let told = wide.within(&Bounds { time: Duration::ZERO, ..Bounds::default() });
    assert!(told.cut_short.unwrap().contains("takes more than"));
}

#[test]
fn it_is_the_same_however_many_look() {
    let root = Root::new();
    for folder in 0..40 {
        for file in 0..5 {
            root.write(&format!("{folder}/{file}"), &specimen::old_caller());
        }
    }
    let by = |threads| root.within(&Bounds { threads, ..Bounds::default() });
    let alone = by(1);
    assert_eq!(alone.elf.vsyscalls.count, 200);
    (2..6).for_each(|threads| assert_eq!(by(threads), alone));
}

#[test]
fn it_survives_being_written_down() {
    let root = Root::new();
    root.write("old", &specimen::old_caller());
    let told = root.survey();
    let text = serde_yaml::to_string(&told).unwrap();
    assert_eq!(serde_yaml::from_str::<Survey>(&text).unwrap(), told);
}
