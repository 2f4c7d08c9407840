//! The daemon may die, and so may a monitor; and what it is told when it starts.

mod options;

use std::{fs, io::Read, process::Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use zone_tests::{TestCtx, run, wait};

fn pid(ctx: &TestCtx, zone: &str, which: &str) -> i32 {
    let info = ctx.info(zone);
    info[which].as_i64().unwrap_or_else(|| panic!("no {which} in {info}")) as i32
}

/// Start time of a process, so that one that was replaced under the same number is noticed.
fn born(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).unwrap_or_default().to_owned()
}

/// Whether a process runs. One that nobody has reaped yet does not: the host's init takes its time.
fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn zones_live_on_without_the_daemon() {
    let mut ctx = TestCtx::new();
    ctx.boot(
        "zone: a\nprocess: { command: [/bin/sh, -c, 'echo before; sleep 2; echo after; exec sleep 1000'] }",
    );
    ctx.boot("zone: b");
    ctx.create("zone: c").ok();
    ctx.ok(&["install", "c"]);
    ctx.ok(&["ready", "c"]);
    let before = [pid(&ctx, "a", "init_pid"), pid(&ctx, "b", "init_pid"), pid(&ctx, "c", "init_pid")];
    let births = before.map(born);
    ctx.kill_daemon();
    // The console goes on being kept.
    let log = || {
        let all = fs::read_dir(ctx.dir.join("lib/zones")).into_iter().flatten().flatten();
        all.filter_map(|zone| fs::read_to_string(zone.path().join("console.log")).ok()).collect::<String>()
    };
    wait::until("the console is kept without the daemon", || log().contains("after"));
    ctx.start_daemon();
    let after = [pid(&ctx, "a", "init_pid"), pid(&ctx, "b", "init_pid"), pid(&ctx, "c", "init_pid")];
    assert_eq!((before, births), (after, after.map(born)), "processes were replaced");
    assert_eq!([ctx.state("a"), ctx.state("b"), ctx.state("c")], ["running", "running", "ready"]);
    assert_eq!(ctx.sh("b", "exit 5").code, 5);
    ctx.ok(&["boot", "c"]);
    let shown = ctx.ok(&["console", "a", "--log"]);
    assert!(shown.contains("before") && shown.contains("after"), "{shown}");
    ctx.finish();
}

#[test]
fn an_exit_that_nobody_saw_is_told() {
    let mut ctx = TestCtx::new();
    ctx.boot(
        "zone: a\nprocess: { command: [/bin/sh, -c, 'while [ ! -e /go ]; do sleep 0.05; done; exit 42'] }",
    );
    let init = pid(&ctx, "a", "init_pid");
    let mut exec = ctx.command(&[
        "exec",
        "a",
        "--",
        "/bin/sh",
        "-c",
        "echo up; sleep 0.5; touch /go; sleep 0.1; exit 9",
    ]);
    let mut session = exec.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    session.stdout.take().unwrap().read_exact(&mut [0; 3]).unwrap();
    ctx.kill_daemon();
    // The session needs no daemon either; it ends with the zone or by itself.
    let ended = session.wait_with_output().unwrap().status.code();
    assert!(matches!(ended, Some(9 | 137)), "{ended:?}");
    wait::until("the zone's first process is gone", || !alive(init));
    ctx.start_daemon();
    ctx.wait_state("a", "installed");
    let info = ctx.info("a");
    assert_eq!(
        (info["last_exit"]["how"].as_str(), info["last_exit"]["code"].as_u64()),
        (Some("exited"), Some(42)),
        "{info}"
    );
    ctx.finish();
}

#[test]
fn a_reboot_from_inside_happens_when_a_daemon_is_back() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: a");
    let first = pid(&ctx, "a", "init_pid");
    ctx.kill_daemon();
    // reboot(2) with LINUX_REBOOT_CMD_RESTART, by a process of the zone's.
    let inside = format!("/proc/{first}/ns");
    let mut enter = std::process::Command::new("nsenter");
    enter.args(["--target", &first.to_string(), "--user", "--pid", "--mount", "--", "/bin/sh", "-c"]);
    enter.arg("python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x01234567)' || perl -e 'syscall(169, 0xfee1dead, 672274793, 0x01234567, 0)'");
    let _ = (run(enter), inside);
    wait::until("the zone's first process is gone", || !alive(first));
    ctx.start_daemon();
    ctx.wait_state("a", "running");
    assert_ne!(pid(&ctx, "a", "init_pid"), first);
    assert_eq!(ctx.info("a")["boot"], 2);
    ctx.finish();
}

#[test]
fn a_zone_ends_with_its_monitor() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a");
    ctx.boot("zone: b");
    let (init, monitor, other) =
        (pid(&ctx, "a", "init_pid"), pid(&ctx, "a", "monitor_pid"), pid(&ctx, "b", "init_pid"));
    kill(Pid::from_raw(monitor), Signal::SIGKILL).unwrap();
    ctx.wait_state("a", "installed");
    let reason = ctx.info("a")["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("monitor"), "{reason:?}");
    assert!(!alive(init), "its first process lives");
    assert_eq!((ctx.state("b").as_str(), pid(&ctx, "b", "init_pid")), ("running", other));
    ctx.ok(&["audit"]);
    ctx.ok(&["boot", "a"]);
    ctx.finish();
}

#[test]
fn a_zone_whose_monitor_and_daemon_died_is_cleaned_up() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: a");
    let (init, monitor) = (pid(&ctx, "a", "init_pid"), pid(&ctx, "a", "monitor_pid"));
    ctx.kill_daemon();
    kill(Pid::from_raw(monitor), Signal::SIGKILL).unwrap();
    ctx.start_daemon();
    ctx.wait_state("a", "installed");
    assert!(!alive(init), "its first process lives");
    assert!(ctx.info("a")["reason"].as_str().unwrap_or_default().contains("monitor"));
    ctx.finish();
}

#[test]
fn fifty_deaths_of_the_daemon_lose_nothing() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: steady");
    ctx.create("zone: busy\nprocess: { command: [/bin/sh, -c, 'exec sleep 1000'] }").ok();
    ctx.ok(&["install", "busy"]);
    let init = pid(&ctx, "steady", "init_pid");
    for round in 0..50 {
        // At another point of the boot or halt each time.
        let verb = if ctx.state("busy") == "running" { "halt" } else { "boot" };
        let mut request =
            ctx.command(&[verb, "busy"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(round * 700));
        ctx.kill_daemon();
        let _ = request.wait();
        ctx.start_daemon();
        wait::until("the zone has come to rest", || {
            matches!(ctx.state("busy").as_str(), "installed" | "running")
        });
        assert_eq!(pid(&ctx, "steady", "init_pid"), init, "round {round}");
        let audit = ctx.zonectl(&["audit"]);
        assert_eq!(audit.code, 0, "round {round}: {}", audit.stdout);
    }
    ctx.finish();
}

/// Descriptors run out at another point of its start with each limit, and the next daemon takes over what runs.
#[test]
fn a_daemon_without_descriptors_ends_no_zone() {
    let mut ctx = TestCtx::new();
    let zones = ["a", "b", "c"];
    zones.iter().for_each(|zone| ctx.boot(&format!("zone: {zone}")));
    let inits = zones.map(|zone| pid(&ctx, zone, "init_pid"));
    let births = inits.map(born);
    ctx.kill_daemon();
    let (mut came_up, mut found_down) = (0, 0);
    for limit in 18..42 {
        let daemon = ctx.daemon_command();
        let mut limited = std::process::Command::new("prlimit");
        limited.arg(format!("--nofile={limit}")).arg(daemon.get_program()).args(daemon.get_args());
        let path = ctx.dir.join(format!("log-{limit}"));
        let log = || fs::read_to_string(&path).unwrap_or_default();
        let file = fs::File::create(&path).unwrap();
        let mut daemon = limited.stdin(Stdio::null()).stderr(file).spawn().unwrap();
        wait::until("the daemon serves, or has ended", || {
            log().contains("serving") || matches!(daemon.try_wait(), Ok(Some(_)))
        });
        came_up += i32::from(log().contains("serving"));
        found_down += i32::from(log().contains("could not take it over"));
        let _ = daemon.kill();
        daemon.wait().unwrap();
        let ended = log().contains("state=shutting-down") || inits.map(born) != births;
        assert!(!ended, "with {limit} descriptors a zone was ended:\n{}", log());
    }
    assert!(came_up > 0 && found_down > 0, "came up {came_up} times, found zones down {found_down} times");
    ctx.start_daemon();
    assert_eq!(zones.map(|zone| ctx.state(zone)), ["running"; 3]);
    assert_eq!(zones.map(|zone| pid(&ctx, zone, "init_pid")), inits);
    ctx.finish();
}

/// The monitor that waits for the next boot: a child of the daemon that shows no folder.
fn waiting(daemon: i32) -> Option<i32> {
    let children = fs::read_dir(format!("/proc/{daemon}/task")).ok()?.flatten();
    let children = children.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<i32> = children
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    pids.into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        alive(*pid) && String::from_utf8_lossy(&line).contains("(waits for a zone)")
    })
}

#[test]
fn a_monitor_waits_for_the_next_boot_and_no_longer_than_the_daemon() {
    let mut ctx = TestCtx::new();
    let daemon = ctx.daemon_pid() as i32;
    let spare = || waiting(daemon);
    wait::until("a monitor waits", || spare().is_some());
    let first = spare().unwrap();
    ctx.boot("zone: a");
    assert_eq!(pid(&ctx, "a", "monitor_pid"), first, "the boot took the one that waited");
    let line = fs::read_to_string(format!("/proc/{first}/cmdline")).unwrap();
    assert!(line.contains(&*ctx.dir.join("run/zones").to_string_lossy()), "it shows whose it is: {line}");
    wait::until("another waits after the boot", || spare().is_some());

    // Somebody kills it: the next boot starts one of its own.
    kill(Pid::from_raw(spare().unwrap()), Signal::SIGKILL).unwrap();
    ctx.boot("zone: b");
    wait::until("one waits again", || spare().is_some());
    let last = spare().unwrap();
    ctx.kill_daemon();
    wait::until("it goes with the daemon", || !alive(last));
    assert!(alive(first), "one that has a zone does not");
    ctx.start_daemon();
    assert_eq!([ctx.state("a"), ctx.state("b")], ["running", "running"]);
    ctx.finish();
}

#[test]
fn a_command_that_ends_at_once_is_no_failure_of_a_boot_from_ready() {
    let ctx = TestCtx::new();
    ctx.create("zone: a\nprocess: { init: none, command: [/bin/true] }").ok();
    ctx.ok(&["install", "a"]);
    for _ in 0..20 {
        ctx.ok(&["ready", "a"]);
        ctx.ok(&["boot", "a"]);
        ctx.wait_state("a", "installed");
    }
    ctx.finish();
}

/// An init that takes a second to come up, and one to stop.
const SLOW: &str = "zone: a
process: { init: /usr/bin/perl, command: [-e, 'sleep 1; $SIG{INT} = $SIG{TERM} = sub { sleep 1; exit 7 }; sleep 1 while 1'] }";

#[test]
fn an_init_is_asked_to_stop_when_it_can_hear_it() {
    let ctx = TestCtx::new();
    ctx.boot(SLOW);
    let begun = std::time::Instant::now();
    let said = ctx.ok(&["shutdown", "-t", "20", "a"]);
    assert!(
        !said.contains("had not stopped") && begun.elapsed() < wait::limit(10),
        "{said} {:?}",
        begun.elapsed()
    );
    assert_eq!(ctx.info("a")["last_exit"]["code"], 7, "{}", ctx.info("a"));
    // A halt breaks in while nobody hears.
    ctx.ok(&["boot", "a"]);
    let asked = ctx.command(&["shutdown", "-t", "20", "a"]).stdin(Stdio::null()).spawn();
    wait::until("it is shutting down", || ctx.state("a") == "shutting-down");
    ctx.ok(&["halt", "a"]);
    assert!(!asked.unwrap().wait().unwrap().success());
    ctx.finish();
}

#[test]
fn a_reboot_goes_on_under_the_next_daemon() {
    let mut ctx = TestCtx::new();
    ctx.boot(SLOW);
    let boots = |ctx: &TestCtx| ctx.info("a")["boot"].as_u64().unwrap();
    for (verb, pause) in
        [(&["shutdown", "-r", "a"][..], 1500), (&["reboot", "a"][..], 3), (&["reboot", "a"][..], 8)]
    {
        let before = boots(&ctx);
        let mut client = ctx.command(verb).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        ctx.kill_daemon();
        client.wait().unwrap();
        ctx.start_daemon();
        ctx.wait_state("a", "running");
        // Killed before it had heard of it, the daemon has nothing to go on with.
        wait::until("it runs", || ctx.state("a") == "running");
        let now = boots(&ctx);
        assert!(now == before + 1 || (now == before && pause < 10), "{verb:?}: {before} {now}");
    }
    // It is done: nobody boots it again.
    ctx.ok(&["halt", "a"]);
    ctx.kill_daemon();
    ctx.start_daemon();
    assert_eq!(ctx.state("a"), "installed");
    ctx.finish();
}
