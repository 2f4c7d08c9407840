//! Ends and restarts that a zone brings about itself, and zones that boot by themselves.

use std::fs;

use serde_json::json;
use zone_tests::{TestCtx, speaker, wait};

use super::states::{groups, init, log};

/// reboot(2) with a command, by the host's perl: what `reboot -f` and `poweroff -f` do.
fn reboot(command: u32) -> String {
    format!("exec perl -e 'syscall({}, 0xfee1dead, 672274793, {command}, 0); die $!'", libc::SYS_reboot)
}

const RESTART: u32 = 0x0123_4567;
const POWER_OFF: u32 = 0x4321_fedc;
const HALT: u32 = 0xcdef_0123;

#[test]
fn a_reboot_from_inside_boots_the_zone_again() {
    let ctx = TestCtx::new();
    ctx.boot("zone: z");
    let before = init(&ctx, "z");
    ctx.sh("z", &reboot(RESTART));
    wait::until("it is up again", || {
        let info = ctx.info("z");
        info["state"] == "running" && info["boot"] == 2
    });
    assert_ne!(init(&ctx, "z"), before);
    assert_eq!(ctx.info("z")["last_exit"]["how"], "rebooted");
    ctx.ok(&["exec", "z", "true"]);
    ctx.finish();
}

#[test]
fn a_power_off_or_halt_from_inside_stops_it() {
    let ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    ctx.ok(&["install", "z"]);
    for command in [POWER_OFF, HALT] {
        ctx.ok(&["boot", "z"]);
        ctx.sh("z", &reboot(command));
        ctx.wait_state("z", "installed");
        let info = ctx.info("z");
        assert_eq!(info["last_exit"]["how"], "powered-off");
        assert_eq!(info["reason"], "it was powered off from inside");
        assert!(groups(&ctx, "z").is_empty());
    }
    ctx.finish();
}

#[test]
fn the_end_of_its_command_is_told_as_it_was() {
    let ctx = TestCtx::new();
    for (zone, script, how, value, reason) in [
        ("zero", "exit 0", "code", 0, "its first process ended"),
        ("seven", "exit 7", "code", 7, "its first process ended with code 7"),
        ("last", "exit 255", "code", 255, "its first process ended with code 255"),
        ("killed", "kill -9 $$", "code", 137, "its first process ended with code 137"),
    ] {
        ctx.boot(&format!("zone: {zone}\nprocess: {{ command: [/bin/sh, -c, '{script}'] }}"));
        ctx.wait_state(zone, "installed");
        let info = ctx.info(zone);
        assert_eq!((&info["last_exit"][how], &info["reason"]), (&value.into(), &reason.into()), "{info}");
    }
    // The first process itself, killed by the host.
    ctx.boot("zone: first");
    let pid = i32::try_from(init(&ctx, "first")).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    ctx.wait_state("first", "installed");
    assert_eq!(ctx.info("first")["last_exit"]["signal"], 9);
    ctx.finish();
}

#[test]
fn a_zone_that_reboots_itself_again_and_again_is_left_down() {
    let ctx = TestCtx::new();
    let script = reboot(RESTART).replace('\'', "''");
    ctx.create(&format!("zone: z\nprocess: {{ command: [/bin/sh, -c, '{script}'] }}")).ok();
    ctx.ok(&["install", "z"]);
    ctx.ok(&["boot", "z"]);
    wait::until("it is left down", || {
        let info = ctx.info("z");
        info["state"] == "installed" && info["reason"].to_string().contains("again and again")
    });
    let boots = ctx.info("z")["boot"].as_u64().unwrap();
    assert!((3..=10).contains(&boots), "{boots} boots; console: {}", log(&ctx, "z"));
    ctx.finish();
}

/// The order in which zones came to run, by the daemon's own events.
fn boots(ctx: &TestCtx) -> Vec<String> {
    let events = ctx.ok(&["events", "--json"]);
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let up = events.filter(|e| e["kind"] == "state-changed" && e["to"] == "running");
    up.map(|e| e["zone"].as_str().unwrap().to_owned()).collect()
}

/// As after a restart of the host: nothing runs and the run folder is empty.
fn restart_host(ctx: &mut TestCtx) {
    ctx.stop_daemon();
    fs::remove_dir_all(ctx.dir.join("run")).unwrap();
    ctx.start_daemon();
}

#[test]
fn zones_boot_by_themselves_in_order_once_in_the_hosts_life() {
    let mut ctx = TestCtx::new();
    for more in [
        "zone: web\nautoboot: true\norder: 0\nafter: [db]",
        "zone: db\nautoboot: true\norder: 9",
        "zone: log\nautoboot: true\norder: 5",
        "zone: broken\nautoboot: true\nprocess: { command: [/nonexistent] }",
        "zone: not-asked",
        "zone: not-installed\nautoboot: true",
    ] {
        let zone = more.lines().next().unwrap().trim_start_matches("zone: ").to_owned();
        ctx.create(more).ok();
        if zone != "not-installed" {
            ctx.ok(&["install", &zone]);
        }
    }
    restart_host(&mut ctx);
    ctx.wait_state("web", "running");
    assert_eq!(boots(&ctx), ["log", "db", "web"]);
    let rest = [ctx.state("broken"), ctx.state("not-asked"), ctx.state("not-installed")];
    assert_eq!(rest, ["installed", "installed", "configured"]);
    assert!(ctx.info("broken")["reason"].to_string().contains("/nonexistent"), "{}", ctx.info("broken"));

    // The daemon alone: what was halted by hand stays so.
    ctx.ok(&["halt", "db"]);
    ctx.stop_daemon();
    ctx.start_daemon();
    ctx.ok(&["exec", "web", "true"]);
    assert_eq!((ctx.state("db").as_str(), boots(&ctx).len()), ("installed", 0));
    ctx.finish();
}

#[test]
fn a_zone_boots_after_those_it_waits_for_are_online_or_should_have_been() {
    let mut ctx = TestCtx::new();
    let online = |timeout| json!({ "autoboot": true, "online": { "notify": true, "timeout": timeout } });
    ctx.create(&speaker("db", online(600))).ok();
    ctx.create(&speaker("never", online(1))).ok();
    ctx.create("zone: web\nautoboot: true\nafter: [db, absent]").ok();
    ctx.create("zone: proxy\nautoboot: true\nafter: [web]").ok();
    ctx.create("zone: late\nautoboot: true\nafter: [never]").ok();
    ctx.create("zone: other\nautoboot: true\norder: 9").ok();
    for zone in ["db", "never", "web", "proxy", "late", "other"] {
        ctx.ok(&["install", zone]);
    }
    restart_host(&mut ctx);
    // Nobody else is held up, and nobody for longer than was said.
    ctx.wait_state("other", "running");
    ctx.wait_state("late", "running");
    assert!(
        ctx.log()
            .contains("boots without what it comes after: zone never: running, but not online after 1 s")
    );
    assert_eq!([ctx.state("web"), ctx.state("proxy")], ["installed", "installed"]);
    // The next daemon goes on, and boots nothing that was halted meanwhile.
    ctx.ok(&["halt", "other"]);
    ctx.kill_daemon();
    ctx.start_daemon();
    ctx.ok(&["exec", "db", "true"]);
    assert_eq!([ctx.state("web"), ctx.state("proxy")], ["installed", "installed"]);
    ctx.say("db", "READY=1");
    ctx.wait_state("proxy", "running");
    assert_eq!(
        (boots(&ctx), ctx.state("other").as_str()),
        (vec!["web".to_owned(), "proxy".into()], "installed")
    );
    // All has been done.
    ctx.ok(&["halt", "web"]);
    ctx.stop_daemon();
    ctx.start_daemon();
    ctx.ok(&["exec", "db", "true"]);
    assert_eq!(ctx.state("web"), "installed");
    ctx.finish();
}
