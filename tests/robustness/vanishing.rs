//! Clients that are killed in the middle of a session: what they began is hung up, and nothing leaks.

use std::{
    fs,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use zone_tests::{TestCtx, wait};

use super::shape::{Shape, processes};

/// A client whose streams are pipes.
fn start(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Reads from a client until it has printed this.
#[track_caller]
fn until(client: &mut impl Read, what: &str) {
    let (mut seen, mut buffer) = (String::new(), [0; 1024]);
    while !seen.contains(what) {
        let n = client.read(&mut buffer).unwrap_or(0);
        assert_ne!(n, 0, "it ended without {what:?}, but {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
}

fn kill(mut client: Child) {
    client.kill().unwrap();
    client.wait().unwrap();
}

/// A running zone, its monitor's shape and its processes.
fn zone(ctx: &TestCtx) -> (Shape, usize) {
    ctx.boot("zone: v");
    // Whatever is made once is made.
    ctx.ok(&["exec", "v", "true"]);
    let monitor = ctx.info("v")["monitor_pid"].as_u64().unwrap();
    wait::until("init alone is left", || processes(ctx).len() == 1);
    (Shape::of(monitor as u32), processes(ctx).len())
}

/// Everything of the vanished clients is gone, from the zone, its monitor and the daemon.
#[track_caller]
fn nothing_is_left(ctx: &TestCtx, (monitor, count): &(Shape, usize), daemon: &Shape) {
    wait::until("their processes are gone", || processes(ctx).len() == *count);
    monitor.is_back();
    daemon.is_back();
    ctx.ok(&["exec", "v", "true"]);
}

#[test]
fn a_command_whose_client_is_killed_is_hung_up() {
    let ctx = TestCtx::new();
    let before = zone(&ctx);
    let daemon = Shape::of_daemon(&ctx);
    // A shell tells of its child's hangup, and nobody hears it any more.
    let script = "exec 2>/dev/null; trap 'echo hung up > /root/signal; exit' HUP; echo up; while :; do sleep 0.01; done";
    let mut client = start(ctx.command(&["exec", "v", "--", "sh", "-c", script]));
    until(client.stdout.as_mut().unwrap(), "up");
    kill(client);
    wait::until("SIGHUP has come", || ctx.sh("v", "cat /root/signal").stdout == "hung up\n");
    for _ in 0..20 {
        let mut client = start(ctx.command(&["exec", "v", "--", "sh", "-c", "echo up; exec sleep 1000000"]));
        until(client.stdout.as_mut().unwrap(), "up");
        kill(client);
    }
    nothing_is_left(&ctx, &before, &daemon);
    ctx.finish();
}

/// A terminal of the test's own.
fn terminal() -> (fs::File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (fs::File::from(master), slave.into())
}

/// A client on a terminal.
fn on_terminal(mut command: Command) -> (Child, fs::File) {
    let (master, slave) = terminal();
    let side = || Stdio::from(slave.try_clone().unwrap());
    let client = command.env("TERM", "dumb").stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    (client, master)
}

#[test]
fn a_login_whose_client_is_killed_is_hung_up_with_all_it_runs() {
    let ctx = TestCtx::new();
    let before = zone(&ctx);
    let daemon = Shape::of_daemon(&ctx);
    for _ in 0..5 {
        let (client, mut terminal) = on_terminal(ctx.command(&["login", "v"]));
        // Typed and shown are told apart by the shell's arithmetic. It is the command in front that says so: those a
        // terminal hangs up, while what a shell has put into its background is the shell's own affair.
        terminal.write_all(b"sh -c 'echo up-$((6*7)); exec sleep 1000000'\n").unwrap();
        until(&mut terminal, "up-42");
        assert!(processes(&ctx).len() >= before.1 + 2, "shell and command run");
        kill(client);
    }
    nothing_is_left(&ctx, &before, &daemon);
    ctx.finish();
}

#[test]
fn a_login_is_ended_by_its_terminal_and_by_its_escape() {
    let ctx = TestCtx::new();
    let before = zone(&ctx);
    let daemon = Shape::of_daemon(&ctx);
    let (mut client, mut terminal) = on_terminal(ctx.command(&["login", "v"]));
    terminal.write_all(b"echo up-$((6*7)); stty size; tty\n").unwrap();
    until(&mut terminal, "up-42");
    until(&mut terminal, "/dev/pts/");
    terminal.write_all(b"exit 9\n").unwrap();
    until(&mut terminal, "exit 9");
    assert_eq!(client.wait().unwrap().code(), Some(9));
    let (mut client, mut terminal) = on_terminal(ctx.command(&["login", "v"]));
    terminal.write_all(b"echo up-$((6*7))\n").unwrap();
    until(&mut terminal, "up-42");
    terminal.write_all(b"\r~.").unwrap();
    until(&mut terminal, "detached");
    client.wait().unwrap();
    nothing_is_left(&ctx, &before, &daemon);
    ctx.finish();
}

#[test]
fn a_console_whose_client_is_killed_is_let_go() {
    let ctx = TestCtx::new();
    let before = zone(&ctx);
    let daemon = Shape::of_daemon(&ctx);
    for _ in 0..10 {
        let mut client = start(ctx.command(&["console", "v"]));
        client.stdin.as_mut().unwrap().write_all(b"typed\n").unwrap();
        until(client.stdout.as_mut().unwrap(), "typed");
        kill(client);
    }
    nothing_is_left(&ctx, &before, &daemon);
    ctx.finish();
}

#[test]
fn a_copy_whose_client_is_killed_ends_on_both_sides() {
    let ctx = TestCtx::new();
    let before = zone(&ctx);
    let daemon = Shape::of_daemon(&ctx);
    let large = ctx.dir.join("large");
    // Holes: long to copy, nothing to keep.
    fs::File::create(&large).unwrap().set_len(64 << 30).unwrap();
    ctx.sh("v", "truncate -s 64G /root/large").ok();
    let out = ctx.dir.join("out");
    for _ in 0..2 {
        let into = start({
            let mut command = ctx.command(&["cp"]);
            command.arg(&large).arg("v:/root/copy");
            command
        });
        wait::until("it copies into the zone", || processes(&ctx).len() > before.1);
        kill(into);
        let from = start({
            let mut command = ctx.command(&["cp", "v:/root/large"]);
            command.arg(&out);
            command
        });
        wait::until("it copies out of the zone", || processes(&ctx).len() > before.1);
        kill(from);
    }
    nothing_is_left(&ctx, &before, &daemon);
    assert!(!out.exists(), "a copy that is not whole was put in place");
    ctx.finish();
}

#[test]
fn a_verb_whose_client_is_killed_goes_on_to_its_end() {
    let ctx = TestCtx::new();
    ctx.create("zone: v").ok();
    for (verb, state) in
        [("install", "installed"), ("boot", "running"), ("reboot", "running"), ("halt", "installed")]
    {
        for _ in 0..3 {
            let mut command = ctx.command(&[verb, "v"]);
            let client =
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            kill(client);
        }
        // Asked again: it joins, finds it done, or does it.
        ctx.ok(&[verb, "v"]);
        assert_eq!(ctx.state("v"), state);
    }
    ctx.finish();
}

#[test]
fn a_zone_that_floods_its_console_is_halted_at_once() {
    let ctx = TestCtx::new();
    ctx.boot("zone: v");
    let mut floods: Vec<_> = (0..4)
        .map(|_| {
            start(ctx.command(&["exec", "v", "--", "sh", "-c", "echo up; exec yes flood > /dev/console"]))
        })
        .collect();
    floods.iter_mut().for_each(|client| until(client.stdout.as_mut().unwrap(), "up"));
    let uuid = ctx.info("v")["uuid"].as_str().unwrap().to_owned();
    let log = ctx.dir.join("lib/zones").join(uuid).join("console.log.1");
    wait::until("the log has an older generation", || log.exists());
    let began = std::time::Instant::now();
    ctx.ok(&["halt", "v"]);
    assert!(began.elapsed() < zone_tests::wait::limit(5), "halt took {:?}", began.elapsed());
    floods.into_iter().for_each(kill);
    for file in [log.with_extension(""), log] {
        let size = fs::metadata(&file).unwrap().len();
        assert!(size <= (1 << 20) + (16 << 10), "{}: {size} bytes", file.display());
    }
    ctx.finish();
}
