//! `global`, the host's own processes: what is set of it is kept, whatever keeps shares.

use std::{fs, process::Stdio};

use serde_json::Value;
use zone_tests::{TestCtx, wait};

/// Shares that were set, and what is said of them.
fn shares(ctx: &TestCtx) -> (String, String) {
    let info = ctx.json(&["info", "global"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(info["limits"][0]["key"], "cpu.shares", "{info}");
    (text(&info["limits"][0]["limit"]), text(&info["limits"][0]["note"]))
}

/// What doctor says of them.
fn doctor(ctx: &TestCtx) -> String {
    let report = ctx.json(&["doctor"]);
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|f| f["subject"] == "shares of global").map(Value::to_string).collect()
}

/// One whose daemon has come to keep shares.
fn scene() -> TestCtx {
    let ctx = TestCtx::new();
    wait::until("a backend is chosen", || shares(&ctx).1.starts_with("not kept by deficit"));
    ctx
}

#[test]
fn shares_of_the_host_are_kept_over_restarts_and_kills() {
    let mut ctx = scene();
    assert_eq!(shares(&ctx).0, "100");
    let told = fs::read_to_string(ctx.dir.join("etc/zoned.yaml")).ok();
    let said = ctx.ok(&["set", "global", "cpu.shares=300"]);
    assert!(said.starts_with("global: cpu.shares is 300, not kept by deficit, which "), "{said}");
    assert!(said.contains("against the host's own they have 100 (zones-shares of zoned)"), "{said}");
    let events = ctx.ok(&["events"]);
    assert!(events.contains("configuration of global changed: cpu.shares=300"), "{events}");
    ctx.stop_daemon();
    ctx.start_daemon();
    assert_eq!(shares(&ctx).0, "300");
    ctx.ok(&["set", "global", "cpu.shares=7"]);
    ctx.kill_daemon();
    ctx.start_daemon();
    wait::until("a backend is chosen", || shares(&ctx).1.starts_with("not kept by deficit"));
    let text = ctx.ok(&["info", "global"]);
    assert!(text.contains("limits     cpu.shares  7  not kept by deficit, which "), "{text}");
    let found = doctor(&ctx);
    assert!(
        found.contains("it was given cpu.shares=7") && found.contains("has no effect under deficit"),
        "{found}"
    );
    ctx.ok(&["set", "global", "cpu.shares="]);
    assert_eq!(shares(&ctx).0, "100");
    assert!(!doctor(&ctx).contains("it was given"), "{}", doctor(&ctx));
    assert_eq!(
        fs::read_to_string(ctx.dir.join("etc/zoned.yaml")).ok(),
        told,
        "a file of the administrator's"
    );
    ctx.finish();
}

#[test]
fn what_cannot_be_set_of_the_host_is_refused_and_changes_nothing() {
    let ctx = scene();
    ctx.ok(&["set", "global", "cpu.shares=40"]);
    for (values, says) in [
        (&["cpu.shares=0"][..], "global: cpu.shares=0: without shares the host could not be administered"),
        (&["cpu.shares=10001"], "global: cpu.shares=10001: is not between 1 and 10000"),
        (&["cpu.shares=-5"], "is no whole number"),
        (&["cpu.shares=a\x1b[2J"], "is no whole number"),
        (&["cpu.cap=1"], "global: cpu.cap: nothing but cpu.shares can be set"),
        (&["cpu={ shares: 5 }"], "global: cpu: nothing but cpu.shares can be set"),
        (&["cpu.shares=50", "autoboot=true"], "global: autoboot: nothing but cpu.shares can be set"),
    ] {
        ctx.zonectl(&[&["set", "global"], values].concat()).refuses(1, says);
        assert_eq!(shares(&ctx).0, "40", "{values:?}");
    }
    ctx.zonectl(&["set", "global", "cpu.shares"]).fails(2, "write key=value");
    ctx.zonectl(&["set", "global"]).fails(2, "KEY=VALUE");
    for verb in ["boot", "edit", "export", "delete"] {
        ctx.zonectl(&[verb, "global"]).fails(2, "is reserved");
    }
    let says = "global: cpu.shares changes nothing of what zones are entitled to: it is not kept by deficit";
    ctx.zonectl(&["whatif", "global", "cpu.shares=300"]).refuses(1, says);
    ctx.zonectl(&["whatif", "global", "cpu.shares=0"]).refuses(1, "could not be administered");
    assert_eq!(ctx.json(&["stat", "global"])["stats"][0].get("entitlement"), None);
    ctx.finish();
}

#[test]
fn a_daemon_that_is_killed_while_it_keeps_shares_has_the_old_or_the_new_ones() {
    let mut ctx = TestCtx::new();
    ctx.ok(&["set", "global", "cpu.shares=1000"]);
    let mut before = 1000;
    for round in 0..30 {
        let asked = 1001 + round;
        let value = format!("cpu.shares={asked}");
        let mut client = ctx.command(&["set", "global", &value]);
        let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(round * 500));
        ctx.kill_daemon();
        let told = client.wait().unwrap().success();
        ctx.start_daemon();
        let now: u64 = shares(&ctx).0.parse().unwrap();
        assert!(now == asked || (now == before && !told), "{round}: {before}, then {asked}: {now}");
        before = now;
    }
    ctx.finish();
}

#[test]
fn a_file_that_is_damaged_is_told_and_mended_by_the_next_change() {
    let mut ctx = scene();
    ctx.ok(&["set", "global", "cpu.shares=300"]);
    ctx.stop_daemon();
    let file = ctx.dir.join("lib/global.json");
    fs::write(&file, "{\"version\":1,\"sha").unwrap();
    ctx.start_daemon();
    assert_eq!(shares(&ctx).0, "100");
    assert!(doctor(&ctx).contains("global.json: damaged"), "{}", doctor(&ctx));
    ctx.ok(&["set", "global", "cpu.shares=300"]);
    assert!(!doctor(&ctx).contains("damaged"), "{}", doctor(&ctx));
    ctx.stop_daemon();
    fs::write(&file, "{\"version\":9}").unwrap();
    ctx.start_daemon();
    ctx.zonectl(&["set", "global", "cpu.shares=5"]).refuses(1, "written by a newer zoned");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"version\":9}");
    ctx.finish();
}
