//! `exec` and `login`: exit codes, user, folder, environment, signals.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use zone_tests::{TestCtx, run, run_with, wait};

use super::states::{Holder, log};

#[test]
fn every_exit_code_is_passed_on() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e");
    let one = |code: u16| assert_eq!(ctx.sh("e", &format!("exit {code}")).code, i32::from(code));
    thread::scope(|scope| {
        for quarter in 0..4 {
            scope.spawn(move || (0..64).map(|i| quarter * 64 + i).for_each(one));
        }
    });
    ctx.finish();
}

#[test]
fn a_signal_is_128_more() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e");
    for signal in
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGPIPE, Signal::SIGTERM]
    {
        let outcome = ctx.sh("e", &format!("kill -{} $$", signal as i32));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (128 + signal as i32, ""), "{signal}");
    }
    ctx.finish();
}

#[test]
fn what_cannot_be_run_says_why_by_125_126_127() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e");
    ctx.sh(
        "e",
        "echo 'echo hello' > /root/plain; printf 'no program' > /root/broken; chmod 755 /root/broken",
    )
    .ok();
    let exec = |args: &[&str]| {
        let mut all = vec!["exec", "e"];
        all.extend(args);
        ctx.zonectl(&all)
    };
    exec(&["nonexistent-command"]).refuses(127, "nonexistent-command");
    exec(&["/nonexistent/program"]).refuses(127, "/nonexistent/program");
    exec(&["/root/plain"]).refuses(126, "/root/plain");
    exec(&["/root/broken"]).refuses(126, "/root/broken");
    exec(&["/etc"]).refuses(126, "/etc");
    exec(&["--user", "nobody-of-that-name", "true"]).refuses(125, "nobody-of-that-name");
    exec(&["--workdir", "/nonexistent/folder", "true"]).refuses(125, "/nonexistent/folder");
    exec(&["a\nb\u{1b}[31m"]).refuses(127, "\\u{1b}");
    ctx.zonectl(&["exec", "nobody", "true"]).refuses(125, "zone nobody: no such zone");
    ctx.zonectl(&["exec", "../etc", "true"]).fails(2, "begins with a letter or digit");
    ctx.ok(&["exec", "e", "true"]);
    ctx.finish();
}

#[test]
fn user_folder_and_environment_are_as_asked() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e\nhostname: inside.example");
    let said = |args: &[&str]| {
        let mut all = vec!["exec", "e"];
        all.extend(args);
        ctx.ok(&all)
    };
    assert_eq!(said(&["id", "-u"]), "0\n");
    assert_eq!(said(&["--user", "nobody", "id", "-un"]), "nobody\n");
    assert_eq!(said(&["--user", "1234", "id", "-u"]), "1234\n");
    assert_eq!(said(&["pwd"]), "/\n");
    assert_eq!(said(&["--workdir", "/usr/bin", "pwd"]), "/usr/bin\n");
    assert_eq!(
        said(&["-e", "A=x y", "-e", "B=", "--", "/bin/sh", "-c", "echo \"$A,$B,${B+set}\""]),
        "x y,,set\n"
    );
    assert_eq!(said(&["uname", "-n"]), "inside.example\n");
    // Nothing of the caller's own comes along.
    let mut command = ctx.command(&["exec", "e", "env"]);
    command.env("ONLY_OUTSIDE", "secret");
    assert!(!run(command).ok().contains("secret"));
    // An argument is an argument, not a word of a shell.
    assert_eq!(said(&["--", "printf", "%s|", "a b", "$(id)", "*", ""]), "a b|$(id)|*||");
    ctx.finish();
}

#[test]
fn a_login_without_a_terminal_is_a_login_shell_that_reads_commands() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e");
    let script = b"echo \"$0 $USER $PWD\"; exit 5\n";
    let login = run_with(ctx.command(&["login", "e"]), script);
    assert_eq!(login.code, 5, "{login:?}");
    let words: Vec<_> = login.stdout.split_whitespace().collect();
    assert!(words[0].starts_with('-') && words[1..] == ["root", "/root"], "{login:?}");
    ctx.zonectl(&["login", "e", "--user", "nobody-of-that-name"]).refuses(125, "nobody-of-that-name");
    ctx.finish();
}

/// A command under way, once it has printed a line.
fn begun(mut command: Command) -> (Holder, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut line, mut byte) = (Vec::new(), [0]);
    let stdout = child.stdout.as_mut().unwrap();
    while !line.ends_with(b"\n") && stdout.read(&mut byte).unwrap() == 1 {
        line.push(byte[0]);
    }
    (Holder(child), String::from_utf8_lossy(&line).into_owned())
}

#[test]
fn signals_to_the_client_reach_the_command() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e");
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let (mut client, _) =
            begun(ctx.command(&["exec", "e", "--", "/bin/sh", "-c", "echo up; exec sleep 1000000"]));
        kill(Pid::from_raw(client.0.id() as i32), signal).unwrap();
        assert_eq!(client.0.wait().unwrap().code(), Some(code), "{signal}");
    }
    let script = "trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let (mut client, _) = begun(ctx.command(&["exec", "e", "--", "/bin/sh", "-c", script]));
    kill(Pid::from_raw(client.0.id() as i32), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    client.0.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!((client.0.wait().unwrap().code(), rest.as_str()), (Some(3), "caught\n"));
    ctx.finish();
}

#[test]
fn a_command_whose_zone_is_halted_is_killed_and_its_client_told() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e");
    let (mut client, _) =
        begun(ctx.command(&["exec", "e", "--", "/bin/sh", "-c", "echo up; exec sleep 1000000"]));
    ctx.ok(&["halt", "e"]);
    let code = client.0.wait().unwrap().code();
    let mut said = String::new();
    client.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    // Killed, by the monitor's word, or by the monitor's end if that comes first.
    let told = code == Some(137) || code == Some(125) && said.contains("the zone was halted");
    assert!(told, "{code:?}: {said}");
    ctx.finish();
}

#[test]
fn many_commands_at_once_each_get_their_own_ending() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e");
    let commands = (0..32).map(|i| {
        let script = format!("echo out {i}; echo err {i} >&2; exit {i}");
        ctx.command(&["exec", "e", "--", "/bin/sh", "-c", &script])
    });
    for (i, outcome) in zone_tests::together(commands.collect()).into_iter().enumerate() {
        assert_eq!(outcome.code, i as i32, "{outcome:?}");
        assert_eq!((outcome.stdout, outcome.stderr), (format!("out {i}\n"), format!("err {i}\n")));
    }
    ctx.finish();
}

#[test]
fn what_a_command_leaves_behind_is_reaped_by_the_zone() {
    let ctx = TestCtx::new();
    ctx.boot("zone: e\nprocess: { command: [/bin/sh, -c, 'echo up; exec sleep 1000000'] }");
    wait::until("it is up", || log(&ctx, "e").contains("up"));
    // A daemon whose parent goes; it closes what it inherited and ends a moment later.
    ctx.sh("e", "(sleep 0.2 >/dev/null 2>&1 </dev/null; :) & exit 0").ok();
    let count = "ls -d /proc/[0-9]* | wc -l";
    // The command, its shell's two children of this very count, and init.
    wait::until("nothing of it is left, not even a zombie", || {
        let stat = ctx.sh("e", "cat /proc/[0-9]*/stat | grep -c ') Z '");
        let sleepers = ctx.sh("e", "cat /proc/[0-9]*/comm | grep -c '^sleep$'");
        (stat.stdout.trim(), sleepers.stdout.trim()) == ("0", "1")
    });
    assert!(ctx.sh("e", count).ok().trim().parse::<u32>().unwrap() < 10);
    ctx.finish();
}
