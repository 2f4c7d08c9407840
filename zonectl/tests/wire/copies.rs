//! Copies: where they land, and what is left when one side fails.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use zoned_api::{ApiError, Method};

use crate::scripted::{Answer, Daemon, finish, interrupt, session, told};

/// A zone whose root is a folder, with tar(1) for its side of a copy.
fn zone(root: &std::path::Path) -> Daemon {
    let root = root.to_owned();
    Daemon::new(move |method, fds| {
        let Method::Copy { path, into, .. } = method else { unreachable!("{method:?}") };
        let [pipe]: [OwnedFd; 1] = fds.try_into().unwrap();
        let place = root.join(path.trim_start_matches('/'));
        let mut tar = Command::new("tar");
        if into {
            tar.current_dir(&place).args(["-xf", "-"]).stdin(pipe);
        } else {
            tar.current_dir(place.parent().unwrap())
                .args(["-cf", "-"])
                .arg(place.file_name().unwrap())
                .stdout(pipe);
        }
        let child = tar.stderr(Stdio::null()).spawn();
        drop(tar);
        let (answer, monitor) = session(Vec::new());
        thread::spawn(move || match child.and_then(|mut child| child.wait()) {
            Ok(status) if status.success() => monitor.ended(0, None),
            _ => monitor.ended(125, Some(&format!("{path}: no such file or folder"))),
        });
        answer
    })
}

#[test]
fn into_a_zone_as_cp_would() {
    let (root, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(root.path().join("srv")).unwrap();
    fs::create_dir_all(host.path().join("site/css")).unwrap();
    fs::write(host.path().join("site/css/a"), "a").unwrap();
    let daemon = zone(root.path());
    let site = host.path().join("site");
    let copy = |to: &str| told(&daemon.run(&["cp", site.to_str().unwrap(), to]));
    for (to, lands) in
        [("web:/srv/", "srv/site/css/a"), ("web:srv", "srv/site/css/a"), ("web:/new", "new/css/a")]
    {
        let (out, err, code) = copy(to);
        assert_eq!((out.as_str(), code), ("copied 3 entries, 1 B\n", Some(0)), "{to}: {err}");
        assert_eq!(fs::read_to_string(root.path().join(lands)).unwrap(), "a", "{to}");
    }
    let (_, err, code) = copy("web:/absent/");
    assert!(code == Some(1) && err.contains("zone web: /absent/: no such folder"), "{err}");
    let (_, err, code) = copy("web:/absent/x");
    assert!(code == Some(1) && err.contains("zone web: /absent: no such file or folder"), "{err}");
}

#[test]
fn out_of_a_zone_as_cp_would() {
    let (root, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(root.path().join("etc/d")).unwrap();
    fs::write(root.path().join("etc/d/f"), vec![9; 3 << 20]).unwrap();
    let daemon = zone(root.path());
    let copy =
        |from: &str, to: &str| told(&daemon.run(&["cp", from, host.path().join(to).to_str().unwrap()]));
    for (from, to, lands) in
        [("web:/etc/d", "", "d/f"), ("web:/etc/d", "e", "e/f"), ("web:/etc/d/f", "d/g", "d/g")]
    {
        let (_, err, code) = copy(from, to);
        assert_eq!(code, Some(0), "{from} {to}: {err}");
        assert_eq!(fs::read(host.path().join(lands)).unwrap(), vec![9; 3 << 20], "{from} {to}");
    }
    let (_, err, code) = copy("web:/etc/d", "");
    assert!(code == Some(1) && err.contains("d: exists already and is a folder"), "{err}");
    let (_, err, code) = copy("web:/etc/absent", "");
    assert!(code == Some(1) && err.contains("zone web: /etc/absent: no such file or folder"), "{err}");
    let names: Vec<_> = fs::read_dir(host.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_hostile_zone_writes_nothing() {
    let host = tempfile::tempdir().unwrap();
    let daemon = Daemon::new(|_, fds| {
        let (answer, monitor) = session(Vec::new());
        let mut pipe = File::from(fds.into_iter().next().unwrap());
        thread::spawn(move || {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..6].copy_from_slice(b"../bad");
            header.set_size(1);
            header.set_cksum();
            builder.append(&header, &b"x"[..]).unwrap();
            let _ = pipe.write_all(&builder.into_inner().unwrap());
            drop(pipe);
            monitor.ended(0, None);
        });
        answer
    });
    let (_, err, code) = told(&daemon.run(&["cp", "web:/x", host.path().join("in").to_str().unwrap()]));
    assert!(code == Some(1) && err.contains("../bad: refused: it leads upwards"), "{err}");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_copy_leaves_nothing() {
    let host = tempfile::tempdir().unwrap();
    let (tell, begun) = mpsc::channel();
    let daemon = Daemon::new(move |_, fds| {
        let (answer, monitor) = session(Vec::new());
        let mut pipe = File::from(fds.into_iter().next().unwrap());
        let tell = tell.clone();
        thread::spawn(move || {
            let mut header = tar::Header::new_gnu();
            header.set_path("x").unwrap();
            header.set_mode(0o644);
            header.set_size(1 << 30);
            header.set_cksum();
            pipe.write_all(header.as_bytes()).unwrap();
            // More than a pipe holds: when it is written the copy is under way. Then it stands still.
            pipe.write_all(&[0; 1 << 20]).unwrap();
            tell.send(()).unwrap();
            (monitor.next(), pipe)
        });
        answer
    });
    let mut child = daemon
        .zonectl(&["cp", "web:/x", host.path().join("x").to_str().unwrap()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    begun.recv_timeout(Duration::from_secs(20)).unwrap();
    interrupt(&child);
    let mut stderr = child.stderr.take().unwrap();
    assert_eq!(finish(child, Duration::from_secs(20)).code(), Some(130));
    let mut err = String::new();
    stderr.read_to_string(&mut err).unwrap();
    assert!(err.contains("interrupted; the copy is not whole"), "{err}");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
}

#[test]
fn sides_that_make_no_sense_are_refused() {
    let daemon = Daemon::new(|_, _| unreachable!("nothing must be asked"));
    for (from, to, why) in [
        ("./a", "./b", "neither side"),
        ("a:/x", "b:/y", "both sides"),
        ("-", "a:/x", "stream"),
        ("/dev/null", "a:/x", "/dev/null: a device cannot be copied"),
        ("/proc/self/status", "a:/x", "/proc/self/status: is made up by the kernel"),
        ("a:/proc/cpuinfo", "x", "zone a: /proc/cpuinfo: what is in /proc is made by the kernel"),
        ("./Cargo.toml", "a:/srv/../sys/x", "what is in /sys is made by the kernel"),
    ] {
        let (_, err, code) = told(&daemon.run(&["cp", from, to]));
        assert!(code != Some(0) && err.contains(why), "{err}");
    }
}

#[test]
fn a_file_with_a_colon_in_its_name_is_no_riddle() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Copy { zone, .. } => Answer::Error(ApiError::NoSuchZone { zone }),
        other => unreachable!("{other:?}"),
    });
    let (_, err, code) = told(&daemon.run(&["cp", "-r", "f:g", "/tmp"]));
    assert!(code == Some(1) && err.starts_with("zonectl: zone f: no such zone\n  try: "), "{err}");
    assert!(err.contains("a file here is written `./f:g`"), "{err}");
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("f:g"), "").unwrap();
    let (_, err, _) =
        told(&daemon.zonectl(&["cp", "-a", "f:g", "web:/"]).current_dir(here.path()).output().unwrap());
    assert!(err.contains("both sides are in a zone\n  try: a file here is written `./f:g`"), "{err}");
}
