//! The moments at which the host's own program runs inside a zone: between its birth there and its exec.
//!
//! A zone's root can make such a moment as long as it likes (here its /etc/passwd is a pipe that nobody writes to), can
//! make that program execute itself (CVE-2019-5736), and can try to have it begin in a folder of the host's
//! (CVE-2024-21626).

use std::process::{Child, Command, Stdio};

use zone_tests::{TestCtx, run_with, wait};

use crate::{
    arena::{Arena, NATIVE, add_brand},
    processes::prying,
    shell::Shell,
};

const UNDUMPABLE: &str = "not dumpable from before it could be seen";

fn spawn(arena: &Arena, args: &[&str]) -> Child {
    let mut command = arena.ctx.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_command_hides_the_hosts_program_until_its_exec() {
    let arena = Arena::new(&["a"]);
    let mut attacker = Shell::new(&arena, "a");
    attacker.run("mv /etc/passwd /etc/kept && mkfifo /etc/passwd");
    let victim = spawn(&arena, &["exec", "a", "--", "/bin/echo", "arrived"]);
    let pid = attacker.find("zone-exec");
    let attempts = prying(&pid, UNDUMPABLE);
    let scripts: Vec<String> = attempts.iter().map(|a| a.script().to_owned()).collect();
    let said = attacker.attack(&scripts);
    assert_eq!(said.len(), scripts.len(), "{said:?}");
    attempts.iter().zip(&said).for_each(|(attempt, said)| attempt.told(said));
    // It was the command before its exec, and not something that had ended meanwhile.
    assert_eq!(attacker.find("zone-exec"), pid);
    attacker.run("cat /etc/kept > /etc/passwd; rm /etc/passwd; mv /etc/kept /etc/passwd");
    let out = victim.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "arrived\n", "{}", String::from_utf8_lossy(&out.stderr));
    arena.finish();
}

#[test]
fn the_hosts_program_cannot_be_written_even_when_it_runs_itself() {
    let arena = Arena::new(&["a"]);
    let monitor = zone_tests::binary("zone-monitor");
    let before = std::fs::metadata(&monitor).unwrap().modified().unwrap();
    let mut attacker = Shell::new(&arena, "a");
    // Its loader is the zone's, and opens what the zone says: it waits there.
    attacker.run("mkfifo /run/waits");
    let mut victim =
        spawn(&arena, &["exec", "-e", "LD_PRELOAD=/run/waits", "a", "--", "/proc/self/exe", "here"]);
    let pid = attacker.find("/proc/self/exe here");
    let name = attacker.run(&format!("readlink /proc/{pid}/exe")).pop().unwrap_or_default();
    assert!(name.ends_with("zone-monitor"), "{name}: it does not run the monitor's program");
    let write = [format!("openat -100 '/proc/{pid}/exe' 1 0")];
    assert_eq!(attacker.attack(&write), ["EACCES openat"], "its owner is nobody in the zone");
    // Once it has ended nothing says "text file busy" any more: only the owner is in the way.
    let keep = |pid: &str| {
        format!("exec 9< /proc/{pid}/exe; kill -9 {pid}; sleep 0.1; (: >> /proc/self/fd/9) && echo written")
    };
    let said = attacker.run(&keep(&pid)).join("\n");
    assert!(said.contains("Permission denied") && !said.contains("written"), "{said}");
    attacker.run("cp /bin/sleep /run/own; /run/own 60 &");
    let own = attacker.find("/run/own 60");
    let said = attacker.run(&keep(&own)).join("\n");
    assert!(said.contains("written"), "of a program of the zone's own it works: {said}");
    victim.wait().unwrap();
    assert_eq!(std::fs::metadata(&monitor).unwrap().modified().unwrap(), before);
    arena.finish();
}

/// A copy runs inside as well: links of the zone's lead it only to what it holds itself.
#[test]
fn copies_stay_inside() {
    let arena = Arena::new(&["a"]);
    let file = arena.ctx.dir.join("copied");
    std::fs::write(&file, "x").unwrap();
    let here = std::env::current_dir().unwrap();
    let holds = (0..12).map(|fd| format!("fd/{fd}")).chain(["cwd".into(), "root".into(), "exe".into()]);
    for target in holds.map(|name| format!("/proc/self/{name}")) {
        arena.ctx.sh("a", &format!("rm -f /root/l; ln -s {target} /root/l")).ok();
        let outcome = arena.ctx.zonectl(&["cp", &file.display().to_string(), "a:/root/l/copied"]);
        let inside = arena.ctx.sh("a", "find / -xdev -name copied -delete -print").ok();
        println!("copy through {target}: {} {inside:?} {}", outcome.code, outcome.stderr.trim());
        assert_eq!(outcome.code == 0, !inside.is_empty(), "{target}: {}", outcome.stderr);
        assert!(!here.join("copied").exists() && !std::path::Path::new("/copied").exists());
    }
    arena.finish();
}

/// A terminal that is none would hold up whoever reads it, or be something else of the zone's choice.
#[test]
fn a_terminal_is_of_the_zones_own_devpts() {
    let arena = Arena::new(&["a"]);
    let mut attacker = Shell::new(&arena, "a");
    let command = arena.ctx.command(&["exec", "-t", "a", "--", "/bin/echo", "on a terminal"]);
    // script(1) gives zonectl a terminal.
    let line = format!("{command:?}").replace('"', "");
    let attach = || {
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        zone_tests::run(script)
    };
    assert!(attach().stdout.contains("on a terminal"));
    attacker.run("mkfifo /run/fifo; touch /run/file");
    for fake in ["/dev/null", "/dev/zero", "/run/fifo", "/run/file"] {
        assert_eq!(attacker.run(&format!("mount --bind {fake} /dev/pts/ptmx && echo planted")), ["planted"]);
        let outcome = attach();
        assert_eq!(outcome.code, 125, "{fake}: {}", outcome.stdout);
        assert!(outcome.stdout.contains("cannot use /dev/pts/ptmx"), "{fake}: {}", outcome.stdout);
        attacker.run("umount /dev/pts/ptmx");
    }
    assert!(attach().stdout.contains("on a terminal"));
    arena.finish();
}

#[test]
fn no_command_begins_in_a_folder_of_the_hosts() {
    let arena = Arena::new(&["a"]);
    for fd in 0..16 {
        let folder = format!("/proc/self/fd/{fd}");
        let outcome = arena.ctx.zonectl(&["exec", "-w", &folder, "a", "--", "/bin/pwd"]);
        outcome.fails(125, "cannot enter");
        // The home of whoever logs in is written in a file of the zone's.
        arena.ctx.sh("a", &format!("sed -i 's,^root:.*,root:x:0:0:root:{folder}:/bin/sh,' /etc/passwd")).ok();
        let begun = run_with(arena.ctx.command(&["login", "a"]), b"pwd -P; [ . -ef / ] && echo same\n").ok();
        assert_eq!(begun, "/\nsame\n", "{folder}");
    }
    arena.finish();
}

/// Nothing is known by which a zone's root could hold up the process that brings a command in, ahead of the command's
/// birth. An administrator can: by the zone's group in the freezer of version 1, where not even SIGKILL ends it.
#[test]
fn a_command_that_does_not_come_in_is_given_up() {
    let arena = Arena::new(&["a"]);
    let Some(freezer) = arena.v1_group("a", "freezer") else {
        return println!("not tried: this host has no freezer of version 1");
    };
    let state = freezer.join("freezer.state");
    let monitor = arena.ctx.info("a")["monitor_pid"].clone();
    let children = format!("/proc/{monitor}/task/{monitor}/children");
    let children = || std::fs::read_to_string(&children).unwrap().split_whitespace().count();
    assert_eq!(children(), 1, "the zone's first process");
    std::fs::write(&state, "FROZEN").unwrap();
    arena
        .ctx
        .zonectl(&["exec", "a", "--", "/bin/touch", "/root/ran"])
        .fails(125, "it did not start within 20 s");
    assert_eq!(children(), 2, "what was frozen on its way in stays until it is thawed");
    std::fs::write(&state, "THAWED").unwrap();
    wait::until("it is gone", || children() == 1);
    assert_eq!(arena.ctx.sh("a", "[ -e /root/ran ] || echo never ran").ok(), "never ran\n");
    arena.finish();
}

/// fs.suid_dumpable of a host may make every process that changes its user attachable again. That cannot be set for a
/// test, but a filter under which nobody can hide must keep commands from running.
#[test]
fn a_command_is_hidden_again_when_it_changes_its_user() {
    let mut ctx = TestCtx::new();
    let refused = "  deny:\n    - names: [prctl]\n      errno: EACCES\n      \
                   args: [{ index: 0, is: [4] }]\n      why: PR_SET_DUMPABLE, for a test.\n";
    add_brand(&mut ctx, "unhidden", &NATIVE.replace("  deny:\n", refused));
    ctx.boot("zone: a\nbrand: unhidden");
    ctx.boot("zone: b");
    for user in ["0", "1234"] {
        ctx.zonectl(&["exec", "-u", user, "a", "--", "/bin/true"]).fails(125, "cannot become undumpable");
        ctx.ok(&["exec", "-u", user, "b", "--", "/bin/true"]);
    }
    ctx.finish();
}
