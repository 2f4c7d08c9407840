//! Commands whose streams are pipes. The "zone" is a process of the host's that gets the very descriptors a zone
//! would.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FileType, fstat},
    process::{Pid, Signal, kill_process},
};
use zoned_api::{ApiError, Method, session::ToSession};

use crate::scripted::{Answer, Daemon, finish, session, told};

/// Runs the command it is asked for on the streams it is given, and tells how it ended.
fn running() -> Daemon {
    Daemon::new(|method, fds| {
        let Method::Exec { spec, .. } = method else { unreachable!("{method:?}") };
        for fd in &fds {
            assert_eq!(FileType::from_raw_mode(fstat(fd).unwrap().st_mode), FileType::Fifo);
        }
        let [stdin, stdout, stderr]: [OwnedFd; 3] = fds.try_into().unwrap();
        let mut command = Command::new(&spec.command[0]);
        command.args(&spec.command[1..]).stdin(stdin).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().unwrap();
        // It holds copies of the streams.
        drop(command);
        let (answer, monitor) = session(Vec::new());
        thread::spawn(move || {
            let status = child.wait().unwrap();
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
            monitor.ended(u8::try_from(code).unwrap(), None);
        });
        answer
    })
}

#[test]
fn a_file_through_a_zone_is_the_same_file() {
    let daemon = running();
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let mut bytes = vec![0; 32 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    fs::write(&from, &bytes).unwrap();
    let mut zonectl = daemon.zonectl(&["exec", "web", "--", "cat"]);
    zonectl.stdin(File::open(&from).unwrap()).stdout(File::create(&to).unwrap());
    assert!(finish(zonectl.spawn().unwrap(), Duration::from_secs(60)).success());
    assert!(fs::read(&to).unwrap() == bytes);
}

#[test]
fn ends_of_file_travel_both_ways() {
    let daemon = running();
    let mut zonectl = daemon.zonectl(&["exec", "web", "--", "sort"]);
    let mut child = zonectl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"b\na\n").unwrap();
    let (out, _, code) = told(&child.wait_with_output().unwrap());
    assert_eq!((out.as_str(), code), ("a\nb\n", Some(0)));
}

#[test]
fn status_and_signal_are_passed_on() {
    let daemon = running();
    assert_eq!(daemon.run(&["exec", "web", "--", "sh", "-c", "exit 42"]).status.code(), Some(42));
    assert_eq!(daemon.run(&["exec", "web", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
}

#[test]
fn output_and_errors_to_one_file_keep_their_order() {
    let daemon = running();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = File::create(&path).unwrap();
    let script = "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done";
    let mut zonectl = daemon.zonectl(&["exec", "web", "--", "sh", "-c", script]);
    zonectl.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
    assert!(finish(zonectl.spawn().unwrap(), Duration::from_secs(20)).success());
    let lines: String = (1..=5).map(|i| format!("out{i}\nerr{i}\n")).collect();
    assert_eq!(fs::read_to_string(path).unwrap(), lines);
}

#[test]
fn what_a_command_leaves_behind_holds_nobody_up() {
    let daemon = running();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let mut zonectl = daemon.zonectl(&["exec", "web", "--", "sh", "-c", "echo begun; sleep 20 & echo $!"]);
    zonectl.stdin(Stdio::null()).stdout(File::create(&path).unwrap()).stderr(Stdio::null());
    let began = Instant::now();
    assert!(finish(zonectl.spawn().unwrap(), Duration::from_secs(10)).success());
    assert!(began.elapsed() < Duration::from_secs(10));
    let out = fs::read_to_string(path).unwrap();
    let left = out.strip_prefix("begun\n").unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_command_learns_that_its_reader_is_gone() {
    let daemon = running();
    let zonectl = env!("CARGO_BIN_EXE_zonectl");
    let mut shell = daemon.zonectl(&[]);
    let socket = shell.get_envs().find(|(name, _)| *name == "ZONED_SOCKET").unwrap().1.unwrap().to_owned();
    shell = Command::new("bash");
    let script =
        format!("{zonectl} exec web -- yes < /dev/null 2>/dev/null | head -1; echo ${{PIPESTATUS[0]}}");
    let out = shell.args(["-c", &script]).env("ZONED_SOCKET", socket).output().unwrap();
    assert_eq!(told(&out).0, "y\n141\n");
}

#[test]
fn a_stream_that_a_command_closes_is_closed_here() {
    let daemon = running();
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let script = format!("echo one; exec <&- >&- 2>&-; until [ -e {} ]; do sleep 0.01; done", go.display());
    let mut zonectl = daemon.zonectl(&["exec", "web", "--", "sh", "-c", &script]);
    let mut child =
        zonectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut all = String::new();
    child.stdout.take().unwrap().read_to_string(&mut all).unwrap();
    assert_eq!((all.as_str(), child.try_wait().unwrap()), ("one\n", None));
    // More than all pipes on the way hold.
    let fed = child.stdin.take().unwrap().write_all(&[0; 1 << 20]);
    assert_eq!(fed.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    File::create(&go).unwrap();
    assert!(finish(child, Duration::from_secs(20)).success());
}

#[test]
fn no_stdin_leaves_the_callers_alone() {
    let daemon = running();
    let mut zonectl = daemon.zonectl(&["exec", "-n", "web", "--", "cat"]);
    let mut child = zonectl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let held = child.stdin.take();
    let (out, _, code) = told(&child.wait_with_output().unwrap());
    assert_eq!((out.as_str(), code), ("", Some(0)));
    drop(held);
}

#[test]
fn failures_of_our_own_are_125() {
    let refused = Daemon::new(|_, _| Answer::Error(ApiError::NoSuchZone { zone: "web".into() }));
    let (_, err, code) = told(&refused.run(&["exec", "web", "--", "true"]));
    assert!(code == Some(125) && err.starts_with("zonectl: zone web: no such zone\n  try: "), "{err}");
    let vanishing = Daemon::new(|_, _| session(Vec::new()).0);
    let (_, err, code) = told(&vanishing.run(&["exec", "web", "--", "true"]));
    assert!(code == Some(125) && err.contains("the session broke off"), "{err}");
    let unheard = Daemon::new(|_, _| {
        let (answer, monitor) = session(Vec::new());
        monitor.ended(127, Some("\x1b[31mx: not found"));
        answer
    });
    let (_, err, code) = told(&unheard.run(&["exec", "web", "--", "x"]));
    assert_eq!((err.as_str(), code), ("zonectl: zone web: \\u{1b}[31mx: not found\n", Some(127)));
}

#[test]
fn signals_go_to_the_command() {
    let (tell, told) = mpsc::channel();
    let daemon = Daemon::new(move |method, fds| {
        let Method::Exec { .. } = method else { unreachable!("{method:?}") };
        let (answer, monitor) = session(Vec::new());
        let tell = tell.clone();
        thread::spawn(move || {
            tell.send(None).unwrap();
            while let Some(packet) = monitor.next() {
                let last = packet == ToSession::Signal { signal: 15 };
                tell.send(Some(packet)).unwrap();
                if last {
                    drop(fds);
                    return monitor.ended(143, None);
                }
            }
        });
        answer
    });
    let child = daemon.zonectl(&["exec", "web", "--", "x"]).stdin(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let next = || told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(next(), None);
    for signal in [Signal::INT, Signal::QUIT, Signal::TERM] {
        kill_process(pid, signal).unwrap();
        let signal = u8::try_from(signal.as_raw()).unwrap();
        assert_eq!(next(), Some(ToSession::Signal { signal }));
    }
    assert_eq!(finish(child, Duration::from_secs(20)).code(), Some(143));
}

#[test]
fn a_stopped_caller_stops_its_command() {
    let (tell, told) = mpsc::channel();
    let daemon = Daemon::new(move |_, fds| {
        let (answer, monitor) = session(Vec::new());
        let tell = tell.clone();
        thread::spawn(move || {
            tell.send(None).unwrap();
            for _ in 0..2 {
                tell.send(monitor.next()).unwrap();
            }
            drop(fds);
            monitor.ended(0, None);
        });
        answer
    });
    let child = daemon.zonectl(&["exec", "web", "--", "x"]).stdin(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let next = || told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(next(), None);
    kill_process(pid, Signal::TSTP).unwrap();
    assert_eq!(next(), Some(ToSession::Signal { signal: 19 }));
    let stat = format!("/proc/{}/stat", child.id());
    let until = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(&stat).unwrap().contains(") T ") {
        assert!(Instant::now() < until, "zonectl did not stop");
        thread::sleep(Duration::from_millis(5));
    }
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(next(), Some(ToSession::Signal { signal: 18 }));
    assert!(finish(child, Duration::from_secs(20)).success());
}

#[test]
fn nothing_of_the_callers_is_handed_over() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let own = [&read, &write].map(|fd| fstat(fd).unwrap().st_ino);
    let daemon = Daemon::new(move |_, fds| {
        for fd in &fds {
            let given = fstat(fd).unwrap();
            assert!(FileType::from_raw_mode(given.st_mode) == FileType::Fifo && !own.contains(&given.st_ino));
        }
        let (answer, monitor) = session(Vec::new());
        monitor.ended(u8::try_from(fds.len()).unwrap(), None);
        answer
    });
    let mut zonectl = daemon.zonectl(&["exec", "web", "--", "x"]);
    zonectl.stdin(read).stdout(write);
    assert_eq!(finish(zonectl.spawn().unwrap(), Duration::from_secs(20)).code(), Some(3));
}
