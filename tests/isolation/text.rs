//! Text from a zone, on the terminal of whoever looks at it from the host.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
};

use crate::arena::Arena;

/// Clears a screen, and names a window.
const EVIL: &str = "\x1b[2J\x1b]0;evil\x07";

fn harmless(what: &str, text: &str) {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!text.contains(control), "{what}: control characters of a zone's: {text:?}");
}

#[test]
fn text_of_a_zone_is_escaped() {
    let arena = Arena::new(&["a"]);
    let image = arena.ctx.dir.join("image");
    fs::create_dir_all(image.join("etc")).unwrap();
    fs::write(image.join("etc/os-release"), format!("ID=x\nPRETTY_NAME=\"{EVIL}\"\n")).unwrap();
    arena.ctx.create(&format!("zone: e\nroot: {{ image: 'dir:{}' }}", image.display())).ok();
    arena.ctx.ok(&["install", "e"]);
    for verb in [&["list"][..], &["info", "e"], &["list", "--json"], &["info", "e", "--json"]] {
        let outcome = arena.ctx.zonectl(verb);
        assert!(outcome.stdout.contains("evil"), "{verb:?} does not show it at all: {}", outcome.stdout);
        harmless(&format!("{verb:?}"), &outcome.stdout);
    }
    for args in [
        vec!["exec", "a", "--", EVIL],
        vec!["exec", "-w", EVIL, "a", "--", "true"],
        vec!["exec", "-u", EVIL, "a", "--", "true"],
        vec!["cp", "a:/\x1b[2J", "/nowhere/x"],
    ] {
        let outcome = arena.ctx.zonectl(&args);
        assert_ne!(outcome.code, 0);
        harmless(&format!("{args:?}"), &outcome.stderr);
    }
    // A process may call itself anything as well.
    let mut events = arena.ctx.command(&["events", "a", "--follow", "--processes"]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    let (ended, end) = mpsc::channel::<()>();
    let pid = nix::unistd::Pid::from_raw(events.id() as i32);
    let watchdog = thread::spawn(move || {
        if end.recv_timeout(zone_tests::wait::limit(30)) == Err(RecvTimeoutError::Timeout) {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    });
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("running")), "events begin with what is kept");
    arena.ctx.sh("a", &format!("cp /bin/true '/tmp/{EVIL}' && '/tmp/{EVIL}'")).ok();
    let shown = lines.find(|line| line.contains("evil")).expect("the process is told of in time");
    harmless("events", &shown);
    drop(ended);
    watchdog.join().unwrap();
    events.kill().and_then(|()| events.wait()).unwrap();
    arena.finish();
}
