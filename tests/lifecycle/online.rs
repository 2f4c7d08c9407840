//! Zones that are waited for until they are online: by their own word.

use std::{
    fs,
    io::{Read, Write},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use zone_tests::{Outcome, TestCtx, Wire, run, speaker, together, wait};

use super::states::Holder;

/// Events of a zone of one kind.
fn events(ctx: &TestCtx, zone: &str, kind: &str) -> Vec<Value> {
    let text = ctx.ok(&["events", zone, "--json"]);
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["kind"] == kind).collect()
}

/// Creates and installs zones that speak.
fn speakers(ctx: &TestCtx, zones: &[&str]) {
    for zone in zones {
        ctx.create(&speaker(zone, json!({}))).ok();
        ctx.ok(&["install", zone]);
    }
}

/// Waits for a zone in another process, which has said so.
fn waiting(ctx: &TestCtx, args: &[&str]) -> Waiting {
    let mut command = ctx.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Holder(command.spawn().unwrap());
    let mut said = String::new();
    let errors = child.0.stderr.as_mut().unwrap();
    while !said.ends_with("waiting to be online: it has not said READY=1 by sd_notify(3)\n") {
        let mut byte = [0];
        assert_eq!(errors.read(&mut byte).unwrap(), 1, "it does not wait: {said}");
        said.push(byte[0].into());
    }
    Waiting(child)
}

struct Waiting(Holder);

impl Waiting {
    /// What it says at its end, and its exit code.
    #[track_caller]
    fn end(mut self) -> (String, i32) {
        let child: &mut Child = &mut self.0.0;
        let status = wait::within(Duration::from_secs(30), || child.try_wait().unwrap());
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (said, status.expect("it still waits").code().unwrap())
    }
}

/// Processes with this name that a zone's monitor has.
fn listeners(ctx: &TestCtx, zone: &str) -> usize {
    let monitor = ctx.info(zone)["monitor_pid"].to_string();
    let children = fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).unwrap();
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    children.split_whitespace().filter(|pid| name(pid) == "zone-notify\n").count()
}

#[test]
fn a_zone_of_which_nothing_is_known_is_online_as_soon_as_it_runs() {
    let ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    ctx.ok(&["install", "z"]);
    assert_eq!(ctx.info("z")["online_ms"], Value::Null);
    assert_eq!(ctx.ok(&["boot", "--wait", "z"]), "zone z: running (it is online as soon as it runs)\n");
    let info = ctx.info("z");
    assert!(info["online_ms"].as_u64() >= info["booted_ms"].as_u64() && info["awaits"].is_null(), "{info}");
    assert_eq!(listeners(&ctx, "z"), 0);
    wait::until("it is told", || events(&ctx, "z", "online").len() == 1);
    let said = ctx.ok(&["reboot", "--wait", "z"]);
    assert_eq!(said, "zone z: running (it is online as soon as it runs)\n");
    wait::until("it is told once a boot", || events(&ctx, "z", "online").len() == 2);
    ctx.ok(&["halt", "z"]);
    assert_eq!(ctx.info("z")["online_ms"], Value::Null);
    ctx.zonectl(&["boot", "--timeout", "3", "z"]).fails(2, "--wait");
    ctx.finish();
}

#[test]
fn a_program_says_when_it_is_up_and_until_then_the_zone_runs_and_is_not_online() {
    let ctx = TestCtx::new();
    speakers(&ctx, &["z"]);
    let began = Instant::now();
    let said = ctx
        .zonectl(&["boot", "--wait", "--timeout", "1", "z"])
        .refuses(1, "zone z: running, but not online after 1 s: it has not said READY=1 by sd_notify(3)\n");
    assert!(said.contains("try: `zonectl console --log z`"), "{said}");
    assert!(began.elapsed() < wait::limit(5), "{:?}", began.elapsed());
    assert_eq!((ctx.state("z").as_str(), listeners(&ctx, "z")), ("running", 1));
    // What it says on its way is told, and cannot steer a terminal.
    ctx.say("z", "STATUS=warming up \\033[2J\\nOTHER=1");
    let awaits = "it has not said READY=1 by sd_notify(3) (it said last: warming up \\u{1b}[2J)";
    wait::until("its words are known", || ctx.info("z")["awaits"] == awaits);
    assert!(ctx.ok(&["info", "z"]).contains("\nonline     not yet: it has not said READY=1"));
    assert_eq!(ctx.ok(&["list", "-H", "-o", "online"]).trim(), "no");
    ctx.zonectl(&["boot", "--wait", "--timeout", "0", "z"]).refuses(1, awaits);
    // Whoever asks again waits on.
    let waits = waiting(&ctx, &["boot", "--wait", "z"]);
    let before = ctx.info("z")["booted_ms"].as_u64().unwrap();
    ctx.say("z", "STATUS=done\\nREADY=1\\n");
    let (said, code) = waits.end();
    assert!(
        said.starts_with("zone z: running (it is running already; online ") && code == 0,
        "{code}: {said}"
    );
    let info = ctx.info("z");
    let after = info["online_ms"].as_u64().unwrap() - before;
    assert!((1000..30_000).contains(&after) && info["awaits"].is_null(), "{info}");
    assert_eq!(events(&ctx, "z", "online")[0]["after_ms"], after);
    assert_eq!(ctx.ok(&["list", "-H", "-o", "online"]).trim(), "yes");
    wait::until("nobody listens any more", || listeners(&ctx, "z") == 0);
    // It may speak on; nobody hears, and it stays online.
    ctx.say("z", "STATUS=later\\nREADY=0");
    ctx.ok(&["pause", "z"]);
    assert_eq!(ctx.info("z")["online_ms"], info["online_ms"]);
    ctx.ok(&["resume", "z"]);
    ctx.finish();
}

#[test]
fn a_program_of_another_user_is_heard_too_and_others_get_no_socket() {
    let ctx = TestCtx::new();
    let mut config: Value = serde_json::from_str(&speaker("z", json!({}))).unwrap();
    config["process"]["user"] = "65534".into();
    ctx.create(&config.to_string()).ok();
    ctx.ok(&["install", "z"]);
    ctx.ok(&["boot", "z"]);
    ctx.sh("z", "[ -z \"$NOTIFY_SOCKET\" ]").ok();
    let told = ctx.sh("z", "stat -c '%u %a %F' /run/host/notify; tr '\\0' '\\n' < /proc/2/environ").ok();
    assert!(told.starts_with("65534 600 socket\n") && told.contains("\nNOTIFY_SOCKET=/run/host/notify\n"));
    // The file is the speaker's to read, not to take away.
    ctx.sh("z", "printf READY=1 > /tmp/words && chmod 644 /tmp/words && mv /tmp/words /tmp/say").ok();
    ctx.ok(&["boot", "--wait", "z"]);
    ctx.finish();
}

#[test]
fn whoever_waits_is_told_at_once_that_the_boot_is_over_and_how() {
    let ctx = TestCtx::new();
    let wait_for_it = ["boot", "--wait", "--timeout", "3600", "z"];
    speakers(&ctx, &["z"]);
    for (verb, says) in [
        (&["halt", "z"][..], "zonectl: zone z: it was halted before it was online\n"),
        (&["reboot", "z"], "zonectl: zone z: it was rebooted before it was online\n"),
        (&["shutdown", "z"], "zonectl: zone z: it was shut down before it was online\n"),
        (
            &["exec", "z", "--", "/bin/sh", "-c", "kill -USR1 2"],
            "zonectl: zone z: it ended before it was online: its first process ended with code 138\n",
        ),
    ] {
        let waits = waiting(&ctx, &wait_for_it);
        let began = Instant::now();
        ctx.zonectl(verb);
        let (said, code) = waits.end();
        assert_eq!((said.as_str(), code), (says, 1), "{verb:?}");
        assert!(began.elapsed() < wait::limit(10), "{verb:?}: {:?}", began.elapsed());
        // It was told before the zone was cleared away.
        ctx.wait_state("z", if verb[0] == "reboot" { "running" } else { "installed" });
    }
    // And by the death of its monitor, which takes the listener along.
    let waits = waiting(&ctx, &wait_for_it);
    let monitor = ctx.info("z")["monitor_pid"].as_u64().unwrap();
    let pid = nix::unistd::Pid::from_raw(monitor as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let (said, code) = waits.end();
    assert!(said.contains("it ended before it was online: its monitor died") && code == 1, "{code}: {said}");
    ctx.wait_state("z", "installed");
    assert_eq!(ctx.ok(&["audit"]), "nothing is left over\n");
    // One that has ended already is told so too.
    ctx.create("zone: brief\nprocess: { command: [/bin/sh, -c, 'exit 3'] }").ok();
    ctx.ok(&["install", "brief"]);
    let said = ctx.zonectl(&["boot", "--wait", "brief"]);
    assert!(said.code == 0 || said.stderr.contains("its first process ended with code 3"), "{said:?}");
    ctx.finish();
}

#[test]
fn zones_come_up_one_by_one_and_are_waited_for_together() {
    let ctx = TestCtx::new();
    speakers(&ctx, &["a", "b", "c"]);
    ctx.create("zone: d").ok();
    let began = Instant::now();
    let said = ctx.zonectl(&["boot", "--wait", "--timeout", "2", "a", "d", "b", "c"]);
    assert!(began.elapsed() < wait::limit(5), "{:?}", began.elapsed());
    assert_eq!(said.code, 1);
    let errors: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("zonectl: ")).collect();
    assert_eq!(errors[0], "zonectl: zone d: cannot boot while it is configured");
    for zone in ["a", "b", "c"] {
        let late = format!("zonectl: zone {zone}: running, but not online after 2 s");
        assert_eq!(errors.iter().filter(|line| line.starts_with(&late)).count(), 1, "{errors:?}");
        ctx.say(zone, "READY=1");
    }
    let said = ctx.zonectl(&["boot", "--wait", "--quiet", "a", "b", "c"]);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    ctx.finish();
}

#[test]
fn no_daemon_forgets_that_a_zone_is_online_or_waits_for_what_was_said_before() {
    let mut ctx = TestCtx::new();
    speakers(&ctx, &["z"]);
    let waits = waiting(&ctx, &["boot", "--wait", "z"]);
    ctx.say("z", "STATUS=half way");
    wait::until("its words are known", || ctx.info("z")["awaits"].to_string().contains("half way"));
    ctx.kill_daemon();
    let (said, code) = waits.end();
    assert!(said.contains("zonectl: the connection to zoned broke") && code == 1, "{code}: {said}");
    ctx.start_daemon();
    assert!(ctx.info("z")["awaits"].to_string().contains("half way"), "{}", ctx.info("z"));
    let waits = waiting(&ctx, &["boot", "--wait", "z"]);
    // Said while no daemon runs, by a process that a session of an earlier daemon keeps.
    let script = "echo here; read go; printf READY=1 > /tmp/words; mv /tmp/words /tmp/say";
    let mut session = ctx.command(&["exec", "z", "--", "/bin/sh", "-c", script]);
    let mut session = Holder(session.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    session.0.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    ctx.kill_daemon();
    assert_eq!(waits.end().1, 1);
    session.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    wait::until("it has spoken", || session.0.try_wait().unwrap().is_some());
    ctx.start_daemon();
    let said = ctx.ok(&["boot", "--wait", "--timeout", "20", "z"]);
    assert!(said.starts_with("zone z: running (it is running already; online "), "{said}");
    let before = ctx.info("z");
    ctx.kill_daemon();
    ctx.start_daemon();
    let now = ctx.info("z");
    assert_eq!((&now["online_ms"], &now["boot"]), (&before["online_ms"], &before["boot"]));
    assert_eq!(ctx.ok(&["boot", "--wait", "--timeout", "0", "z"]), said);
    assert!(events(&ctx, "z", "online").is_empty(), "what an earlier daemon knew is told as news");
    ctx.finish();
}

#[test]
fn a_halt_that_meets_the_word_leaves_one_state_and_nothing_behind() {
    let ctx = TestCtx::new();
    speakers(&ctx, &["z"]);
    let (mut up, mut down) = (0, 0);
    for _ in 0..6 {
        let waits = waiting(&ctx, &["boot", "--wait", "z"]);
        let say = ["exec", "z", "--", "/bin/sh", "-c", "printf READY=1 > /tmp/words; mv /tmp/words /tmp/say"];
        let outcomes: Vec<Outcome> = together(vec![ctx.command(&say), ctx.command(&["halt", "z"])]);
        assert_eq!(outcomes[1].code, 0, "{outcomes:?}");
        match waits.end() {
            (said, 0) => up += usize::from(said.contains("online ")),
            (said, 1) => down += usize::from(said.contains("it was halted before it was online")),
            other => panic!("{other:?}"),
        }
        assert_eq!(ctx.state("z"), "installed");
        assert_eq!(ctx.ok(&["audit"]), "nothing is left over\n");
    }
    assert_eq!(up + down, 6);
    ctx.finish();
}

#[test]
fn a_client_that_goes_waits_no_more() {
    let ctx = TestCtx::new();
    speakers(&ctx, &["z"]);
    ctx.ok(&["boot", "z"]);
    let open = || fs::read_dir(format!("/proc/{}/fd", ctx.daemon_pid())).unwrap().count();
    let before = open();
    let mut all: Vec<_> = (0..20).map(|_| Wire::connect(&ctx.socket())).collect();
    for wire in &mut all {
        wire.ask(json!({ "method": "io.zoned.Manager.Wait", "parameters": { "zone": "z", "timeout": 4_000_000_000_u32 } }));
    }
    wait::until("the daemon has them all", || open() >= before + 20);
    // Nobody else is held up.
    ctx.ok(&["exec", "z", "true"]);
    drop(all);
    // (It may have opened something of its own meanwhile.)
    wait::until("the daemon has let go of them", || open() < before + 10);
    let paused = |ctx: &TestCtx| run(ctx.command(&["boot", "--wait", "--timeout", "0", "z"]));
    ctx.ok(&["pause", "z"]);
    paused(&ctx).refuses(1, "zone z: cannot boot while it is paused");
    let mut wire = Wire::connect(&ctx.socket());
    let reply = wire.call("Wait", json!({ "zone": "z", "timeout": 0 }));
    assert!(reply.to_string().contains("zone z: paused, but not online after 0 s"), "{reply}");
    let reply = wire.call("Wait", json!({ "zone": "nobody" }));
    assert!(reply.to_string().contains("NoSuchZone"), "{reply}");
    ctx.ok(&["halt", "z"]);
    let reply = wire.call("Wait", json!({ "zone": "z" }));
    assert!(reply.to_string().contains("it is installed and not on its way to be online"), "{reply}");
    ctx.finish();
}
