//! The confined process that unpacks, and installs that are broken off.

use std::{
    fs,
    io::Write,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
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
use uuid::Uuid;
use zoned::image::{Cancel, ImageError, archive::Rules, worker::Job};

use crate::ground::{Ground, IDS, PROGRAM, archive, only_child, until};

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
