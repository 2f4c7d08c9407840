//! Installs of real images by the real `zoned worker`, as root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, its helpers as well")]

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;
use uuid::Uuid;
use zoned::{
    fault::whole,
    image::{Cancel, ImageError, Images, Installed, Step, archive::Rules, worker::Job},
    plan::IdRange,
};
use zoned_api::config::{Image, Root};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zoned");
const IDS: IdRange = IdRange { base: 1_900_000_000, count: 65_536 };

/// A state and a cache folder of one test's own.
struct Ground {
    top: TempDir,
    images: Images,
    steps: Mutex<Vec<Step>>,
}

impl Ground {
    /// None, and it says so, where a test cannot run.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: installing a root needs root");
            return None;
        }
        let top = tempfile::tempdir().unwrap();
        let images = Images::new(&top.path().join("state"), &top.path().join("cache")).unwrap();
        let images = images.with_worker(Path::new(PROGRAM));
        Some(Ground { top, images, steps: Mutex::default() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn install(&self, zone: Uuid, image: Option<Image>) -> Result<Installed, ImageError> {
        self.install_until(zone, image, &Cancel::default(), |_| {})
    }

    fn install_until(
        &self,
        zone: Uuid,
        image: Option<Image>,
        cancel: &Cancel,
        watch: impl Fn(&Step),
    ) -> Result<Installed, ImageError> {
        let root = Root { sparse: image.is_none(), image };
        let progress = |step: Step| {
            watch(&step);
            self.steps.lock().unwrap().push(step);
        };
        self.images.install(zone, &root, IDS, &progress, cancel).map_err(|failed| failed.why)
    }

    fn tar(&self, name: &str, archive: &[u8]) -> Option<Image> {
        fs::write(self.path(name), archive).unwrap();
        Some(Image::Tar(self.path(name).to_str().unwrap().into()))
    }

    /// Nothing is left but the datasets of the living zones and so many layers.
    fn assert_clean(&self, living: &[Uuid], layers: usize) {
        assert_eq!(self.images.leftovers(living), []);
        assert_eq!(fs::read_dir(self.path("state/layers")).unwrap().count(), layers);
        assert_eq!(fs::read_dir(self.path("state/datasets")).unwrap().count(), living.len());
    }
}

/// An archive of a small userland, with noise so that it takes a while.
fn archive(noise: usize) -> Vec<u8> {
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

#[test]
fn a_tar_archive_becomes_a_layer_with_the_ids_it_has() {
    let Some(ground) = Ground::new() else { return };
    let zone = Uuid::new_v4();
    let installed = ground.install(zone, ground.tar("a.tar", &archive(3))).unwrap();
    assert_eq!(installed.os.as_deref(), Some("Test \\u{1b}[31mOS"));
    assert!(
        installed.describe.ends_with("a.tar, without 1 device nodes below /dev"),
        "{}",
        installed.describe
    );

    let [root] = &ground.images.lowers(zone).unwrap()[..] else { panic!("one layer") };
    let meta = |path: &str| root.join(path).symlink_metadata().unwrap();
    // On the disk ids are the userland's, although they were written with the zone's.
    assert_eq!((meta("sbin/su").uid(), meta("sbin/su").mode() & 0o7777), (0, 0o4755));
    assert_eq!((meta("home/file").uid(), meta("home/file").gid()), (65_535, 65_535));
    assert_eq!((meta("etc").uid(), meta("").uid(), meta("etc").mtime()), (0, 0, 1_000_000_000));
    assert!(root.join("dev/null").symlink_metadata().is_err());
    // Real set-uid files lie there: nobody but root comes near them.
    for folder in ["state/layers", "state/datasets"] {
        assert_eq!(fs::metadata(ground.path(folder)).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let dataset = ground.images.dataset(zone);
    assert!(dataset.join("upper").is_dir() && dataset.join("work").is_dir());

    assert!(matches!(ground.install(zone, None), Err(ImageError::Exists(_))));
    ground.assert_clean(&[zone], 1);
    ground.images.uninstall(zone).unwrap();
    ground.images.uninstall(zone).unwrap();
    assert!(matches!(ground.images.lowers(zone), Err(ImageError::NotInstalled(_))));
    ground.assert_clean(&[], 0);
}

#[test]
fn capabilities_of_files_belong_to_the_layers_own_root() {
    let Some(ground) = Ground::new() else { return };
    // cap_net_raw=ep, version 2.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_pax_extensions([("SCHILY.xattr.security.capability", &capability[..])]).unwrap();
    tar.append_data(&mut header, "ping", &b""[..]).unwrap();
    let zone = Uuid::new_v4();
    ground.install(zone, ground.tar("a.tar", &tar.into_inner().unwrap())).unwrap();
    let path = ground.images.lowers(zone).unwrap()[0].join("ping");
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&path, "security.capability", &mut value[..]).unwrap();
    // Whichever zone's range the layer's ids are shifted to later: with version 3 a root's id comes last.
    assert_eq!(value[4..12], capability[4..12]);
    assert!(value[20..length.max(20)].iter().all(|byte| *byte == 0), "{:?}", &value[..length]);
}

#[test]
fn zones_that_install_the_same_at_once_share_one_unpacking() {
    let Some(ground) = Ground::new() else { return };
    let image = ground.tar("a.tar", &archive(200));
    let zones: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
    std::thread::scope(|scope| {
        for zone in &zones {
            scope.spawn(|| ground.install(*zone, image.clone()).unwrap());
        }
    });
    let unpacked = |s: &&Step| s.what.ends_with("unpacking") && s.amount == Some((0, None));
    assert_eq!(ground.steps.lock().unwrap().iter().filter(unpacked).count(), 1);
    ground.assert_clean(&zones, 1);
    for (n, zone) in zones.iter().enumerate() {
        ground.images.uninstall(*zone).unwrap();
        ground.assert_clean(&zones[n + 1..], usize::from(n < 2));
    }
}

#[test]
fn a_folder_is_installed_as_it_is_and_shared_while_it_is_the_same() {
    let Some(ground) = Ground::new() else { return };
    let from = ground.path("from");
    fs::create_dir_all(from.join("etc")).unwrap();
    fs::write(from.join("etc/os-release"), "PRETTY_NAME=Folder\n").unwrap();
    symlink("/etc/shadow", from.join("link")).unwrap();
    fs::hard_link(from.join("etc/os-release"), from.join("hard")).unwrap();
    let image = Some(Image::Dir(from.to_str().unwrap().into()));
    let zones = [Uuid::new_v4(), Uuid::new_v4()];
    let installed = zones.map(|zone| ground.install(zone, image.clone()).unwrap());
    assert_eq!(installed[0], installed[1]);
    assert_eq!(installed[0].os.as_deref(), Some("Folder"));
    let root = &ground.images.lowers(zones[0]).unwrap()[0];
    assert_eq!(root.join("link").read_link().unwrap(), Path::new("/etc/shadow"));
    assert_eq!(fs::metadata(root.join("hard")).unwrap().nlink(), 2);
    ground.assert_clean(&zones, 1);
}

#[test]
fn a_sparse_root_is_shared_and_shows_the_hosts_programs() {
    let Some(ground) = Ground::new() else { return };
    let zones = [Uuid::new_v4(), Uuid::new_v4()];
    let [one, two] = zones.map(|zone| ground.install(zone, None).unwrap());
    assert_eq!(one, two);
    let host = fs::read_to_string("/usr/lib/os-release").unwrap();
    assert!(one.os.is_some_and(|os| host.contains(&os)));
    let view = ground.images.view(zones[0], true).unwrap();
    assert!(view.read("/bin/sh", 4).unwrap() == *b"\x7fELF");
    ground.assert_clean(&zones, 1);
}

#[test]
fn a_hostile_or_broken_archive_leaves_nothing() {
    let Some(ground) = Ground::new() else { return };
    let mut evil = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../secret");
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    evil.append(&header, &b""[..]).unwrap();
    let honest = archive(3);
    for (bytes, says) in [
        (evil.into_inner().unwrap(), "../secret refused: its name contains .."),
        (honest[..honest.len() - 5000].to_vec(), "truncated"),
        (b"no archive at all".to_vec(), "not a tar archive"),
        (Vec::new(), "it is empty"),
    ] {
        let error = ground.install(Uuid::new_v4(), ground.tar("bad.tar", &bytes)).unwrap_err();
        assert!(whole(&error).contains(says), "{says}: {}", whole(&error));
        ground.assert_clean(&[], 0);
    }
}

#[test]
fn an_archive_that_changes_meanwhile_is_not_taken() {
    let Some(ground) = Ground::new() else { return };
    let image = ground.tar("a.tar", &archive(100));
    let path = ground.path("a.tar");
    let changed = AtomicBool::new(false);
    let result = ground.install_until(Uuid::new_v4(), image, &Cancel::default(), |step| {
        // Its digest is known by then.
        if step.what.ends_with("unpacking") && !changed.swap(true, Ordering::SeqCst) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"x", 5 << 20).unwrap();
        }
    });
    assert!(matches!(result, Err(ImageError::Changed(_))), "{result:?}");
    ground.assert_clean(&[], 0);
}

#[test]
fn a_cancelled_install_ends_soon_and_leaves_nothing() {
    let Some(ground) = Ground::new() else { return };
    let (cancel, begun) = (Cancel::default(), Mutex::new(None));
    let image = ground.tar("a.tar", &archive(2000));
    let result = ground.install_until(Uuid::new_v4(), image, &cancel, |step| {
        if step.what.ends_with("unpacking") {
            cancel.cancel();
            begun.lock().unwrap().get_or_insert_with(Instant::now);
        }
    });
    assert!(matches!(result, Err(ImageError::Cancelled)), "{result:?}");
    assert!(begun.into_inner().unwrap().unwrap().elapsed() < Duration::from_secs(5));
    ground.assert_clean(&[], 0);
}

/// A worker that is fed by the test itself: half an archive, so that it waits for the other half.
struct Worker {
    keeper: Child,
    folder: PathBuf,
}

impl Worker {
    fn new(ground: &Ground) -> Self {
        let folder = ground.path("into");
        fs::create_dir(&folder).unwrap();
        let rules = Rules::default();
        let job = Job { parent: std::process::id(), folder: folder.clone(), ids: IDS, rules };
        let mut command = Command::new(PROGRAM);
        command.args(["worker", "unpack"]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = command.spawn().unwrap();
        let input = keeper.stdin.as_mut().unwrap();
        writeln!(input, "{}", serde_json::to_string(&job).unwrap()).unwrap();
        let archive = archive(20);
        input.write_all(&archive[..archive.len() / 2]).unwrap();
        let worker = Worker { keeper, folder };
        until("something is unpacked", || worker.folder.join("home/2").exists());
        worker
    }

    fn unpacker(&self) -> Pid {
        only_child(&format!("/proc/{0}/task/{0}/children", self.keeper.id()))
    }

    fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.unpacker())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        line.unwrap().to_owned()
    }
}

fn only_child(file: &str) -> Pid {
    let children = fs::read_to_string(file).unwrap();
    Pid::from_raw(children.trim().parse().unwrap())
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: not in 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_unpacker_has_nothing_but_the_folder() {
    let Some(ground) = Ground::new() else { return };
    let mut worker = Worker::new(&ground);
    let unpacker = worker.unpacker();
    let ids = ["1900000000"; 4].join("\t");
    assert_eq!((worker.status("Uid"), worker.status("Gid")), (ids.clone(), ids));
    assert_eq!(worker.status("Groups").trim(), "");
    assert_eq!(worker.status("NoNewPrivs"), "1");
    // chown, dac_override, fowner, fsetid, setfcap; and nothing to gain by exec.
    assert_eq!(worker.status("CapEff"), "000000008000001b");
    assert_eq!(worker.status("CapBnd"), "0000000000000000");
    let proc = PathBuf::from(format!("/proc/{unpacker}"));
    let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap();
    assert!(mounts.lines().all(|line| line.contains("/into / ")), "{mounts}");
    let mut names = fs::read_dir(proc.join("root")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| worker.folder.join(name).exists()));
    for fd in fs::read_dir(proc.join("fd")).unwrap() {
        let open = fs::read_link(fd.unwrap().path()).unwrap();
        let inside = open.strip_prefix("/").is_ok_and(|path| worker.folder.join(path).exists());
        assert!(inside || open.to_string_lossy().starts_with("pipe:"), "{}", open.display());
    }
    for namespace in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/{namespace}")).unwrap();
        assert_ne!(of(&unpacker.to_string()), of("self"), "{namespace}");
    }
    let here = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!here.contains(worker.folder.to_str().unwrap()), "the host's mounts are as they were");
    worker.keeper.kill().unwrap();
    worker.keeper.wait().unwrap();
}

#[test]
fn whoever_of_a_worker_is_killed_the_other_goes_too() {
    let Some(ground) = Ground::new() else { return };
    for (keepers, signal) in [(true, Signal::SIGKILL), (true, Signal::SIGTERM), (false, Signal::SIGKILL)] {
        let mut worker = Worker::new(&ground);
        let (keeper, unpacker) = (Pid::from_raw(worker.keeper.id() as i32), worker.unpacker());
        kill(if keepers { keeper } else { unpacker }, signal).unwrap();
        // Else waiting would end the archive, and the unpacker by that.
        let _input = worker.keeper.stdin.take();
        let status = worker.keeper.wait().unwrap();
        match keepers && signal == Signal::SIGKILL {
            true => assert_eq!(status.signal(), Some(9)),
            false => assert_eq!(status.code(), Some(128 + 9), "it says how the unpacker ended"),
        }
        until("the unpacker is gone", || kill(unpacker, None).is_err());
        fs::remove_dir_all(&worker.folder).unwrap();
    }
}

#[test]
fn a_worker_killed_in_the_middle_of_an_install_leaves_nothing() {
    let Some(ground) = Ground::new() else { return };
    let image = ground.tar("a.tar", &archive(4000));
    let killed = AtomicBool::new(false);
    let result = ground.install_until(Uuid::new_v4(), image, &Cancel::default(), |step| {
        let begun = step.what.ends_with("unpacking") && step.amount.is_some_and(|(done, _)| done > 0);
        if begun && !killed.swap(true, Ordering::SeqCst) {
            let me = nix::unistd::gettid();
            kill(only_child(&format!("/proc/self/task/{me}/children")), Signal::SIGKILL).unwrap();
        }
    });
    let Err(ImageError::Worker { how, .. }) = result else { panic!("{result:?}") };
    assert_eq!(how, "was killed by signal 9");
    ground.assert_clean(&[], 0);
}

#[test]
fn uninstall_takes_whatever_the_zone_has_made() {
    let Some(ground) = Ground::new() else { return };
    let zone = Uuid::new_v4();
    ground.install(zone, ground.tar("a.tar", &archive(1))).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let upper = ground.images.dataset(zone).join("upper");
    let mut here = rustix::fs::openat(rustix::fs::CWD, &upper, flags, Mode::empty()).unwrap();
    symlink("/etc", upper.join("link")).unwrap();
    for depth in 0..5000 {
        rustix::fs::mkdirat(&here, "deeper", Mode::RWXU).unwrap();
        let next = rustix::fs::openat(&here, "deeper", flags, Mode::empty()).unwrap();
        if depth % 100 == 0 {
            rustix::fs::mkdirat(&next, "closed", Mode::empty()).unwrap();
            rustix::fs::symlinkat("..", &next, "up").unwrap();
        }
        rustix::fs::fchmod(&here, Mode::empty()).unwrap();
        here = next;
    }
    drop(here);
    ground.images.uninstall(zone).unwrap();
    ground.assert_clean(&[], 0);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn what_a_dead_daemon_left_is_told_and_removed_by_the_next_one() {
    let Some(ground) = Ground::new() else { return };
    let staging = ground.path("state/layers/.staging-dead");
    fs::create_dir_all(staging.join("fs/etc")).unwrap();
    let left = ground.images.leftovers(&[]);
    assert_eq!((left.len(), &*left[0].kind), (1, "folder"));
    assert_eq!(left[0].object, staging.display().to_string());
    Images::new(&ground.path("state"), &ground.path("cache")).unwrap();
    ground.assert_clean(&[], 0);
}
