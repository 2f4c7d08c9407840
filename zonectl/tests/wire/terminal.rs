//! Sessions on a terminal: raw while they last, as it was afterwards.

use std::{
    fs::File,
    io::{BufRead, Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::pty::{OpenptyResult, Winsize, openpty};
use rustix::{
    process::{Pid, Signal, kill_process},
    termios::{LocalModes, tcgetattr, tcgetwinsize, tcsetwinsize},
};
use zoned_api::Method;

use crate::scripted::{Daemon, finish, session};

/// The person's side of a terminal, and what has been shown on it.
struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    shown: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

const SIZE: Winsize = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };

impl Terminal {
    fn new() -> Self {
        let OpenptyResult { master, slave } = openpty(Some(&SIZE), None).unwrap();
        let shown = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (mut reader, sink) = (File::from(master.try_clone().unwrap()), shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                sink.lock().unwrap().extend(&buffer[..n]);
            }
        });
        Self { master, slave, shown }
    }

    fn start(&self, daemon: &Daemon, args: &[&str]) -> Child {
        let stream = || Stdio::from(self.slave.try_clone().unwrap());
        daemon
            .zonectl(args)
            .env("TERM", "xterm")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap()
    }

    fn types(&self, text: &str) {
        File::from(self.master.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
    }

    fn raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    fn shows(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).contains(text)
    }

    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !condition() {
            let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
            assert!(Instant::now() < until, "{what}; shown: {shown:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn code(child: Child) -> Option<i32> {
    finish(child, Duration::from_secs(20)).code()
}

/// A zone with a terminal of its own: everything typed comes back in brackets; `!` ends the command with 5.
fn bracketing() -> Daemon {
    Daemon::new(|method, fds| {
        let Method::Exec { spec, .. } = method else { unreachable!("{method:?}") };
        assert!(spec.tty && fds.is_empty() && spec.size == (33, 99), "{spec:?}");
        assert_eq!(spec.env.get("TERM").map(String::as_str), Some("xterm"));
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut mode = tcgetattr(&slave).unwrap();
        mode.make_raw();
        rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &mode).unwrap();
        let (answer, monitor) = session(vec![master]);
        thread::spawn(move || {
            let mut terminal = File::from(slave);
            let mut byte = [0];
            while let Ok(1) = terminal.read(&mut byte) {
                if byte == *b"!" {
                    terminal.write_all(b"last words").unwrap();
                    drop(terminal);
                    return monitor.ended(5, None);
                }
                let size = tcgetwinsize(terminal.as_fd()).unwrap();
                write!(terminal, "[{}:{}]", byte[0], size.ws_row).unwrap();
            }
        });
        answer
    })
}

fn started(terminal: &Terminal, daemon: &Daemon, args: &[&str]) -> Child {
    let child = terminal.start(daemon, args);
    terminal.wait("not raw", || terminal.raw());
    child
}

#[test]
fn a_login_is_raw_and_leaves_the_terminal_as_it_was() {
    let (daemon, terminal) = (bracketing(), Terminal::new());
    let child = started(&terminal, &daemon, &["login", "web"]);
    terminal.types("a\x03");
    terminal.wait("Ctrl-C is typed", || terminal.shows("[97:0][3:0]"));
    terminal.types("!");
    assert_eq!(code(child), Some(5));
    terminal.wait("the end is shown", || terminal.shows("last words"));
    assert!(!terminal.raw());
}

#[test]
fn the_zones_terminal_follows_the_callers_size() {
    let (daemon, terminal) = (bracketing(), Terminal::new());
    let child = started(&terminal, &daemon, &["exec", "-t", "web", "--", "x"]);
    let size = rustix::termios::Winsize { ws_row: 12, ws_col: 34, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.master, size).unwrap();
    // The kernel tells the foreground group of a controlling terminal; this one is nobody's.
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::WINCH).unwrap();
    terminal.wait("12 rows", || {
        terminal.types("x");
        thread::sleep(Duration::from_millis(20));
        terminal.shows("[120:12]")
    });
    terminal.types("!");
    assert_eq!(code(child), Some(5));
}

#[test]
fn the_escape_gets_out_of_a_zone_that_does_not_answer() {
    let daemon = Daemon::new(|_, _| {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let (answer, monitor) = session(vec![master]);
        thread::spawn(move || (monitor.next(), slave));
        answer
    });
    let terminal = Terminal::new();
    let child = started(&terminal, &daemon, &["login", "web"]);
    terminal.types("stuck\r~.");
    assert_eq!(code(child), Some(125));
    terminal.wait("it says so", || terminal.shows("[detached from zone web]"));
    assert!(!terminal.raw());
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let (daemon, terminal) = (bracketing(), Terminal::new());
    let child = started(&terminal, &daemon, &["login", "web"]);
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(code(child), Some(143));
    assert!(!terminal.raw());
}

#[test]
fn a_command_that_never_got_its_terminal_says_why() {
    let daemon = Daemon::new(|_, _| {
        let (answer, monitor) = session(Vec::new());
        monitor.ended(125, Some("no such user: bob"));
        answer
    });
    let terminal = Terminal::new();
    let child = terminal.start(&daemon, &["login", "web", "-u", "bob"]);
    assert_eq!(code(child), Some(125));
    terminal.wait("the reason", || terminal.shows("zone web: no such user: bob"));
    assert!(!terminal.raw());
}

#[test]
fn a_console_is_attached_until_it_closes_or_the_escape() {
    let daemon = Daemon::new(|_, _| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        thread::spawn(move || {
            let (mut ours, mut byte) = (ours, [0]);
            ours.write_all(b"login: ").unwrap();
            while let Ok(1) = ours.read(&mut byte) {
                if byte == *b"!" {
                    return;
                }
            }
        });
        let reply = zoned_api::Reply::Session { pid: None, session: 1 };
        crate::scripted::Answer::Replies(vec![reply], vec![theirs.into()])
    });
    for (typed, says) in
        [("~.", "[detached from the console of zone web]"), ("!", "[closed: the console of zone web]")]
    {
        let terminal = Terminal::new();
        let child = started(&terminal, &daemon, &["console", "web"]);
        terminal.wait("what it prints", || terminal.shows("login: "));
        assert!(terminal.shows("[attached to the console of zone web; ~. at the start of a line detaches]"));
        terminal.types(typed);
        assert_eq!(code(child), Some(0));
        terminal.wait(says, || terminal.shows(says));
        assert!(!terminal.raw());
    }
}

/// A console with something in its log, that answers each line it is typed.
fn answering() -> Daemon {
    Daemon::new(|method, _| {
        if let Method::ConsoleLog { .. } = method {
            return crate::scripted::reply(zoned_api::Reply::Text { text: "kept\n".into() });
        }
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut answers = ours.try_clone().unwrap();
            for line in std::io::BufReader::new(ours).lines() {
                let _ = writeln!(answers, "<{}>", line.unwrap());
            }
        });
        let reply = zoned_api::Reply::Session { pid: None, session: 1 };
        crate::scripted::Answer::Replies(vec![reply], vec![theirs.into()])
    })
}

#[test]
fn a_console_without_a_terminal_ends_with_its_input() {
    let daemon = answering();
    let (out, err, status) = crate::scripted::told(&daemon.run(&["console", "web"]));
    assert_eq!((out.as_str(), err.as_str(), status), ("kept\n", "", Some(0)));
    let mut child =
        daemon.zonectl(&["console", "web"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ls\nps\n").unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!((out.as_str(), code(child)), ("kept\n<ls>\n<ps>\n", Some(0)));
}

#[test]
fn a_console_that_is_followed_goes_on_until_its_reader_goes() {
    let daemon = answering();
    let mut zonectl = daemon.zonectl(&["console", "web", "--follow"]);
    let mut child = zonectl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut kept = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut kept).unwrap();
    // Longer than a console without --follow is given to be silent.
    thread::sleep(Duration::from_millis(1500));
    assert_eq!((&kept, child.try_wait().unwrap()), (b"kept\n", None));
    drop(child.stdout.take());
    assert_eq!(code(child), Some(0));
}

#[test]
fn tables_fit_a_narrow_terminal() {
    let daemon = Daemon::new(|method, _| match method {
        Method::List {} => {
            let zone = serde_json::json!({
                "zone": "a-name-of-some-length", "uuid": "6e1c9f04-58a7-4b0c-9a0b-1f6a5c1f0d11", "boot": 1,
                "state": "running", "brand": "debian", "id_base": 536_870_912, "config": { "zone": "x" },
                "os": "Debian GNU/Linux 12 (bookworm)", "init_pid": 4711,
            });
            let zones = vec![serde_json::from_value(zone).unwrap()];
            crate::scripted::reply(zoned_api::Reply::Zones { zones })
        }
        other => unreachable!("{other:?}"),
    });
    let terminal = Terminal::new();
    let size = rustix::termios::Winsize { ws_row: 9, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.master, size).unwrap();
    assert_eq!(code(terminal.start(&daemon, &["list", "--color", "never"])), Some(0));
    terminal.wait("two lines", || {
        terminal.shows("NAME                   STATE    UPTIME\r\na-name-of-some-length  running       -\r\n")
    });
}
