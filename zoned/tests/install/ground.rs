//! What the tests stand on: folders of their own, an archive, and waiting.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use nix::unistd::Pid;
use tempfile::TempDir;
use uuid::Uuid;
use zoned::{
    image::{Cancel, ImageError, Images, Installed, Step},
    plan::IdRange,
};
use zoned_api::config::{Image, Root};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_zoned");
/// Ids of the zones.
pub(crate) const IDS: IdRange = IdRange { base: 1_900_000_000, count: 65_536 };

/// A state and a cache folder of one test's own.
pub(crate) struct Ground {
    top: TempDir,
    pub(crate) images: Images,
    pub(crate) steps: Mutex<Vec<Step>>,
}

impl Ground {
    /// None, and it says so, where a test cannot run.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: installing a root needs root");
            return None;
        }
        let top = tempfile::tempdir().unwrap();
        let images = Images::new(&top.path().join("state"), &top.path().join("cache")).unwrap();
        let images = images.with_worker(Path::new(PROGRAM));
        Some(Ground { top, images, steps: Mutex::default() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    pub(crate) fn install(&self, zone: Uuid, image: Option<Image>) -> Result<Installed, ImageError> {
        self.install_until(zone, image, &Cancel::default(), |_| {})
    }

    pub(crate) fn install_until(
        &self,
        zone: Uuid,
        image: Option<Image>,
        cancel: &Cancel,
        watch: impl Fn(&Step),
    ) -> Result<Installed, ImageError> {
        let root = Root { sparse: image.is_none(), image, quota: None, inodes: None };
        let progress = |step: Step| {
            watch(&step);
            self.steps.lock().unwrap().push(step);
        };
        self.images.install(zone, &root, IDS, &progress, cancel).map_err(|failed| failed.why)
    }

    pub(crate) fn tar(&self, name: &str, archive: &[u8]) -> Option<Image> {
        fs::write(self.path(name), archive).unwrap();
        Some(Image::Tar(self.path(name).to_str().unwrap().into()))
    }

    /// Nothing is left but the datasets of the living zones and so many layers.
    pub(crate) fn assert_clean(&self, living: &[Uuid], layers: usize) {
        assert_eq!(self.images.leftovers(living), []);
        assert_eq!(fs::read_dir(self.path("state/layers")).unwrap().count(), layers);
        assert_eq!(fs::read_dir(self.path("state/datasets")).unwrap().count(), living.len());
    }
}

/// An archive of a small userland, with noise so that it takes a while.
pub(crate) fn archive(noise: usize) -> Vec<u8> {
    use tar::EntryType::{Char, Directory, Regular};
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind, name: &str, mode, uid, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, name, data).unwrap();
    };
    for folder in ["etc", "dev", "sbin", "home"] {
        add(Directory, folder, 0o755, 0, b"");
    }
    add(Regular, "etc/os-release", 0o644, 0, b"ID=test\nPRETTY_NAME=\"Test \x1b[31mOS\"\n");
    add(Regular, "sbin/su", 0o4755, 0, b"#!/bin/sh\n");
    add(Regular, "home/file", 0o600, 65_535, b"mine");
    add(Char, "dev/null", 0o666, 0, b"");
    for n in 0..noise {
        add(Regular, &format!("home/{n}"), 0o644, 1000, &vec![n as u8; 64 << 10]);
    }
    tar.into_inner().unwrap()
}

/// Whose file of children this is has one.
pub(crate) fn only_child(file: &str) -> Pid {
    let children = fs::read_to_string(file).unwrap();
    Pid::from_raw(children.trim().parse().unwrap())
}

/// Waits for something, not too long.
pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: not in 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}
