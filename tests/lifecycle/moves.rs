//! The way up in two steps, the way down by asking, and doing a thing twice.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use zone_tests::{TestCtx, run, wait};

use super::states::{Holder, STUBBORN, groups, init, log};

/// A path of a running zone's root, seen from the host.
fn inside(ctx: &TestCtx, zone: &str, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", init(ctx, zone)))
}

#[test]
fn a_ready_zone_is_isolated_and_runs_nothing_until_it_is_booted() {
    let ctx = TestCtx::new();
    ctx.create("zone: r\nprocess: { command: [/bin/sh, -c, 'echo ran > /root/marker; exec sleep 1000000'] }")
        .ok();
    ctx.ok(&["install", "r"]);
    ctx.ok(&["ready", "r"]);
    let (pid, boot) = (init(&ctx, "r"), ctx.info("r")["boot"].clone());
    for namespace in ["net", "pid_for_children", "user", "mnt", "uts", "ipc", "cgroup", "time"] {
        let of = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/{namespace}")).unwrap().ino();
        assert_ne!(of(&pid.to_string()), of("self"), "{namespace} is the host's");
    }
    assert!(inside(&ctx, "r", "/usr/bin").is_dir(), "its root stands");
    assert!(!inside(&ctx, "r", "/root/marker").exists(), "its command has run already");
    ctx.zonectl(&["exec", "r", "true"]).refuses(125, "cannot exec while it is ready");

    ctx.ok(&["boot", "r"]);
    assert_eq!((init(&ctx, "r"), &ctx.info("r")["boot"]), (pid, &boot), "the same boot goes on");
    wait::until("its command runs", || inside(&ctx, "r", "/root/marker").exists());
    ctx.finish();
}

#[test]
fn a_ready_zone_can_be_halted_and_shut_down_without_ever_running() {
    let ctx = TestCtx::new();
    ctx.create("zone: r\nprocess: { command: [/bin/sh, -c, 'echo ran; sleep 1000000'] }").ok();
    ctx.ok(&["install", "r"]);
    for verb in ["halt", "shutdown"] {
        ctx.ok(&["ready", "r"]);
        ctx.ok(&[verb, "r"]);
        assert_eq!(ctx.state("r"), "installed");
        assert!(groups(&ctx, "r").is_empty());
    }
    assert_eq!(log(&ctx, "r"), "");
    ctx.finish();
}

#[test]
fn what_is_so_already_is_a_note_and_no_error() {
    let ctx = TestCtx::new();
    ctx.create("zone: i").ok();
    for (args, note) in [
        (&["uninstall", "--force", "i"][..], "it has no root"),
        (&["install", "i"], ""),
        (&["install", "i"], "it is installed already"),
        (&["halt", "i"], "nothing of it runs"),
        (&["shutdown", "i"], "nothing of it runs"),
        (&["boot", "i"], ""),
        (&["boot", "i"], "it is running already"),
        (&["resume", "i"], "it is not paused"),
        (&["pause", "i"], ""),
        (&["pause", "i"], "it is paused already"),
        (&["resume", "i"], ""),
        (&["halt", "i"], ""),
        (&["ready", "i"], ""),
        (&["ready", "i"], "it is ready already"),
    ] {
        let said = ctx.ok(args);
        let noted = said.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches([')', '\n']));
        assert_eq!(noted, note, "{args:?}: {said}");
    }
    assert_eq!(ctx.info("i")["boot"], 2);
    ctx.finish();
}

#[test]
fn shutdown_asks_and_a_command_that_listens_ends_its_own_way() {
    let ctx = TestCtx::new();
    let script = r#"trap "echo farewell; exit 0" TERM; echo listening; while :; do sleep 1 & wait $!; done"#;
    ctx.boot(&format!("zone: s\nprocess: {{ command: [/bin/sh, -c, '{script}'] }}"));
    wait::until("it listens", || log(&ctx, "s").contains("listening"));
    let said = ctx.ok(&["shutdown", "--timeout", "60", "s"]);
    assert!(!said.contains("had not stopped"), "{said}");
    assert_eq!(ctx.state("s"), "installed");
    assert!(log(&ctx, "s").contains("farewell"), "{}", log(&ctx, "s"));
    ctx.finish();
}

#[test]
fn shutdown_of_a_command_that_ignores_it_ends_in_a_halt() {
    let ctx = TestCtx::new();
    ctx.boot(&format!("zone: s\n{STUBBORN}"));
    for seconds in [1, 0] {
        wait::until("it ignores SIGTERM", || log(&ctx, "s").matches("deaf").count() == 2 - seconds);
        let began = Instant::now();
        let said = ctx.ok(&["shutdown", "--timeout", &seconds.to_string(), "s"]);
        let took = began.elapsed();
        let note = format!("its init had not stopped after {seconds} s, so it was halted");
        assert!(said.contains(&note), "{said}");
        let least = Duration::from_secs(seconds as u64);
        assert!((least..least + wait::limit(5)).contains(&took), "took {took:?}");
        assert_eq!(ctx.state("s"), "installed");
        assert!(groups(&ctx, "s").is_empty());
        ctx.ok(&["boot", "s"]);
    }
    ctx.finish();
}

#[test]
fn a_halt_breaks_into_a_shutdown() {
    let ctx = TestCtx::new();
    ctx.boot(&format!("zone: s\n{STUBBORN}"));
    wait::until("it ignores SIGTERM", || log(&ctx, "s").contains("deaf"));
    let mut shutdown = ctx.command(&["shutdown", "--timeout", "1000", "s"]);
    shutdown.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shutdown = Holder(shutdown.spawn().unwrap());
    ctx.wait_state("s", "shutting-down");
    ctx.ok(&["halt", "s"]);
    assert_eq!(ctx.state("s"), "installed");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut shutdown.0.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(shutdown.0.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.starts_with("zonectl: zone s: shutdown: interrupted by a halt"), "{said}");
    ctx.finish();
}

#[test]
fn a_clean_reboot_asks_first_and_boots_again() {
    let ctx = TestCtx::new();
    let script = r#"trap "echo farewell; exit 0" TERM; echo listening; while :; do sleep 1 & wait $!; done"#;
    ctx.boot(&format!("zone: s\nprocess: {{ command: [/bin/sh, -c, '{script}'] }}"));
    wait::until("it listens", || log(&ctx, "s").contains("listening"));
    let before = init(&ctx, "s");
    ctx.ok(&["shutdown", "--reboot", "s"]);
    assert_eq!((ctx.state("s").as_str(), &ctx.info("s")["boot"]), ("running", &2.into()));
    assert_ne!(init(&ctx, "s"), before);
    assert!(log(&ctx, "s").contains("farewell"));
    // The blunt one asks nobody.
    ctx.ok(&["reboot", "s"]);
    assert_eq!(ctx.info("s")["boot"], 3);
    assert_eq!(log(&ctx, "s").matches("farewell").count(), 1);
    ctx.finish();
}

#[test]
fn verbs_take_several_zones_and_one_failure_keeps_no_other() {
    let ctx = TestCtx::new();
    for zone in ["a", "b", "c"] {
        ctx.create(&format!("zone: {zone}")).ok();
    }
    ctx.ok(&["install", "a"]);
    ctx.ok(&["install", "c"]);
    ctx.zonectl(&["boot", "a", "b", "nobody", "c"]).fails(1, "zone b: cannot boot while it is configured");
    assert_eq!((ctx.state("a").as_str(), ctx.state("c").as_str()), ("running", "running"));
    ctx.ok(&["halt", "--all"]);
    assert_eq!((ctx.state("a").as_str(), ctx.state("c").as_str()), ("installed", "installed"));
    ctx.finish();
}

#[test]
fn a_command_that_cannot_be_run_fails_the_boot_and_leaves_nothing() {
    let ctx = TestCtx::new();
    for (zone, process, says) in [
        ("missing", "{ command: [/nonexistent/program] }", "/nonexistent/program"),
        ("folder", "{ command: [/etc] }", "/etc"),
        ("user", "{ command: [/bin/true], user: nobody-of-that-name }", "nobody-of-that-name"),
        ("cwd", "{ command: [/bin/true], cwd: /nonexistent/folder }", "/nonexistent/folder"),
        ("init", "{ init: /nonexistent/init }", "/nonexistent/init"),
    ] {
        ctx.create(&format!("zone: {zone}\nprocess: {process}")).ok();
        ctx.ok(&["install", zone]);
        ctx.zonectl(&["boot", zone]).refuses(1, says);
        let info = ctx.info(zone);
        assert_eq!(info["state"], "installed", "{info}");
        assert!(info["reason"].as_str().unwrap_or_default().contains(says), "{info}");
        assert!(groups(&ctx, zone).is_empty());
        assert_eq!(run(ctx.command(&["audit"])).code, 0);
    }
    ctx.finish();
}
