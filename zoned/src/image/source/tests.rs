//! Sources against real files; those that need the network or root are in the crate's own test of installs.

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Mutex,
};

use super::*;
use crate::image::archive::{Owners, Rules, unpack};

struct Ground {
    top: tempfile::TempDir,
    cancel: Cancel,
    steps: Mutex<Vec<Step>>,
}

impl Ground {
    fn new() -> Self {
        let (top, cancel) = (tempfile::tempdir().unwrap(), Cancel::default());
        Ground { top, cancel, steps: Mutex::default() }
    }

    fn path(&self, name: &str) -> String {
        self.top.path().join(name).to_str().unwrap().to_owned()
    }

    fn ask(&self, image: Option<Image>) -> Result<Source, ImageError> {
        let spool = self.top.path();
        let progress = |step| self.steps.lock().unwrap().push(step);
        let request = Request { cache: spool, spool, progress: &progress, cancel: &self.cancel };
        source(&Root { sparse: image.is_none(), image, quota: None, inodes: None }, &request)
    }

    fn dir(&self, name: &str) -> Result<Source, ImageError> {
        self.ask(Some(Image::Dir(self.path(name))))
    }

    fn tar(&self, name: &str) -> Result<Source, ImageError> {
        self.ask(Some(Image::Tar(self.path(name))))
    }
}

#[test]
fn an_archive_is_a_regular_file_whatever_leads_to_it() {
    let ground = Ground::new();
    fs::write(ground.path("a.tar"), "abc").unwrap();
    symlink("a.tar", ground.path("link")).unwrap();
    let source = ground.tar("link").unwrap();
    assert_eq!(source.digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let mut text = String::new();
    (&source.file).read_to_string(&mut text).unwrap();
    assert_eq!((&*text, source.bytes), ("abc", 3));

    nix::unistd::mkfifo(&*ground.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(ground.path("folder")).unwrap();
    symlink("/dev/zero", ground.path("device")).unwrap();
    for (name, word) in [("pipe", "a named pipe"), ("folder", "a folder"), ("device", "a device")] {
        let Err(ImageError::NotAFile { found, .. }) = ground.tar(name) else { panic!("{name} was taken") };
        assert_eq!(found, word);
    }
    let absent = ground.tar("absent").unwrap_err();
    assert!(crate::fault::whole(&absent).contains("No such file"), "{absent}");
}

#[test]
fn a_folder_gives_the_same_digest_as_long_as_it_is_the_same() {
    let ground = Ground::new();
    fs::create_dir_all(ground.path("root/etc")).unwrap();
    fs::write(ground.path("root/etc/x"), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(ground.path("root/socket")).unwrap();
    let (one, two) = (ground.dir("root").unwrap(), ground.dir("root").unwrap());
    assert_eq!((one.digest, one.skipped), (two.digest, 1));
    fs::write(ground.path("root/etc/x"), "y").unwrap();
    assert_ne!(ground.dir("root").unwrap().digest, one.digest);
    assert_eq!(fs::read_dir(&ground.top).unwrap().count(), 1, "the packed file has no name");
}

#[test]
fn the_hosts_root_and_files_are_no_folders_to_copy() {
    let ground = Ground::new();
    fs::write(ground.path("file"), "").unwrap();
    symlink("/", ground.path("root")).unwrap();
    assert!(matches!(ground.dir("file"), Err(ImageError::NotAFolder(_))));
    assert!(matches!(ground.dir("root"), Err(ImageError::HostRoot(_))));
    assert!(matches!(ground.ask(Some(Image::Dir("/".into()))), Err(ImageError::HostRoot(_))));
}

#[test]
fn reading_and_packing_stop_when_cancelled() {
    let ground = Ground::new();
    fs::write(ground.path("a.tar"), "abc").unwrap();
    ground.cancel.cancel();
    assert!(matches!(ground.tar("a.tar"), Err(ImageError::Cancelled)));
    assert!(matches!(ground.dir(""), Err(ImageError::Cancelled)));
}

/// A small host with a merged `/usr`.
fn host(top: &Path) {
    for folder in ["usr/bin", "usr/lib", "etc/ssl/private", "etc/python3", "etc/default"] {
        fs::create_dir_all(top.join(folder)).unwrap();
    }
    symlink("usr/bin", top.join("bin")).unwrap();
    symlink("usr/lib", top.join("lib")).unwrap();
    symlink("../usr/lib/os-release", top.join("etc/os-release")).unwrap();
    for (path, mode) in [
        ("etc/shells", 0o644),
        ("etc/shadow", 0o640),
        ("etc/hostname", 0o644),
        ("etc/passwd", 0o644),
        ("etc/default/locale", 0o644),
        ("etc/default/secret", 0o644),
        ("etc/python3/x", 0o644),
        ("etc/ssl/openssl.cnf", 0o644),
        ("etc/ssl/private/key", 0o644),
        ("etc/ssl/mine", 0o600),
    ] {
        fs::write(top.join(path), "the host's").unwrap();
        fs::set_permissions(top.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(top.join("etc/ssl/private"), fs::Permissions::from_mode(0o710)).unwrap();
}

#[test]
fn a_sparse_root_has_what_programs_need_and_none_of_the_hosts_secrets() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root's files are copied, and making some needs root");
        return;
    }
    let (top, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    host(top.path());
    let bytes = skeleton::archive(top.path()).unwrap();
    assert!(bytes == skeleton::archive(top.path()).unwrap(), "it depends on the host's files alone");
    let folder = File::open(&into).unwrap();
    let rules = Rules { owners: Owners::Kept, ..Rules::default() };
    unpack(&bytes[..], folder.as_fd(), &rules, &mut |_| {}).unwrap();
    let at = |path: &str| into.path().join(path);
    for path in ["etc/hostname", "etc/default/secret", "etc/ssl/private", "etc/ssl/mine", "usr/bin"] {
        assert!(at(path).symlink_metadata().is_err(), "{path}");
    }
    for path in ["etc/shells", "etc/default/locale", "etc/python3/x", "etc/ssl/openssl.cnf"] {
        assert_eq!(fs::read_to_string(at(path)).unwrap(), "the host's", "{path}");
    }
    assert_eq!(at("bin").read_link().unwrap(), Path::new("usr/bin"));
    assert_eq!(at("etc/os-release").read_link().unwrap(), Path::new("../usr/lib/os-release"));
    let modes: BTreeMap<_, _> = [("root", 0o700), ("tmp", 0o1777), ("etc/shadow", 0o600), ("", 0o755)].into();
    for (path, mode) in modes {
        assert_eq!(fs::metadata(at(path)).unwrap().mode() & 0o7777, mode, "{path}");
    }
    let shadow = fs::read_to_string(at("etc/shadow")).unwrap();
    assert!(
        shadow.lines().all(|line| line.split(':').nth(1) == Some("*")),
        "nobody has a password: {shadow}"
    );
    assert!(fs::read_to_string(at("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
}

#[test]
fn a_host_whose_usr_is_not_merged_cannot_be_shared() {
    let top = tempfile::tempdir().unwrap();
    fs::create_dir(top.path().join("bin")).unwrap();
    assert!(matches!(skeleton::archive(top.path()), Err(ImageError::Sparse(_))));
}
