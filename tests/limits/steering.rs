//! Shares that are steered by what zones have got: what is asked stays what is shown, and nothing is left behind.

use std::{
    fs,
    process::{Child, Stdio},
};

use zone_tests::{TestCtx, wait};

use crate::{group_file, in_force, stat};

/// Busy processes in a zone until it is halted.
fn busy(ctx: &TestCtx, zone: &str, count: usize) -> Child {
    let script = "i=0; while [ $i -lt $1 ]; do (while :; do :; done) & i=$((i+1)); done; wait";
    let mut command = ctx.command(&["exec", zone, "--", "sh", "-c", script, "sh", &count.to_string()]);
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait::until("all are there", || stat(ctx, zone)["processes"]["tasks"].as_u64() > Some(count as u64 + 1));
    child
}

fn weight(ctx: &TestCtx, zone: &str) -> String {
    fs::read_to_string(group_file(ctx, zone, ("cpu", "cpu.shares"), "cpu.weight")).unwrap().trim().to_owned()
}

fn note(ctx: &TestCtx, zone: &str) -> String {
    let info = ctx.info(zone);
    let rows = info["limits"].as_array().cloned().unwrap_or_default();
    rows.iter().find(|row| row["key"] == "cpu.shares").unwrap()["note"].as_str().unwrap().to_owned()
}

/// What 100 and 300 shares weigh when nobody steers.
fn plain(ctx: &TestCtx, zone: &str) -> [String; 2] {
    let v1 = group_file(ctx, zone, ("cpu", "cpu.shares"), "cpu.weight").ends_with("cpu.shares");
    if v1 { ["1000", "3000"] } else { ["100", "300"] }.map(str::to_owned)
}

#[test]
fn weights_follow_while_zones_contend_and_shares_stay_what_was_asked() {
    let mut ctx = TestCtx::with(None, &["--cpu-backend", "deficit,shares"]);
    ctx.boot("zone: a\ncpu: { shares: 100 }");
    ctx.boot("zone: b\ncpu: { shares: 300 }");
    let [one, three] = plain(&ctx, "a");
    // A zone alone is left alone.
    let first = busy(&ctx, "a", 3);
    let used = || stat(&ctx, "a")["cpu"]["usage_ns"].as_u64().unwrap();
    let begun = used();
    wait::until("it has worked for a while", || {
        assert_eq!((weight(&ctx, "a"), weight(&ctx, "b")), (one.clone(), three.clone()));
        used() > begun + 2_000_000_000
    });
    let second = busy(&ctx, "b", 3);
    wait::until("a weight is steered", || {
        (weight(&ctx, "a"), weight(&ctx, "b")) != (one.clone(), three.clone())
    });
    // What was asked is shown all the time, and who keeps it.
    for _ in 0..20 {
        assert_eq!(in_force(&ctx, "a", "cpu.shares").as_deref(), Some("100"));
        assert_eq!(in_force(&ctx, "b", "cpu.shares").as_deref(), Some("300"));
        assert!(note(&ctx, "a").starts_with("kept by deficit"), "{}", note(&ctx, "a"));
    }
    wait::until("info tells that it is steered", || note(&ctx, "a").contains("% of them"));
    assert_eq!(stat(&ctx, "a")["entitlement"]["kept_by"], "deficit");
    // A change counts at once, and is steered from there.
    ctx.ok(&["set", "a", "cpu.shares=300"]);
    let now: u64 = weight(&ctx, "a").parse().unwrap();
    let asked: u64 = three.parse().unwrap();
    assert!((asked / 2..=asked * 2).contains(&now), "{now} is not about {asked}");
    assert_eq!(in_force(&ctx, "a", "cpu.shares").as_deref(), Some("300"));
    // Who finds the zones after a kill finds weights that nobody knows: it begins with plain ones, or has steered already.
    ctx.kill_daemon();
    ctx.options = ["--cpu-backend", "shares"].map(str::to_owned).to_vec();
    ctx.start_daemon();
    assert_eq!((weight(&ctx, "a"), weight(&ctx, "b")), (three.clone(), three.clone()));
    assert_eq!(note(&ctx, "a"), "kept by shares");
    // And one that is told to end leaves plain ones.
    ctx.stop_daemon();
    ctx.options = ["--cpu-backend", "deficit"].map(str::to_owned).to_vec();
    ctx.start_daemon();
    wait::until("a weight is steered again", || {
        (weight(&ctx, "a"), weight(&ctx, "b")) != (three.clone(), three.clone())
    });
    let files = ["a", "b"].map(|zone| group_file(&ctx, zone, ("cpu", "cpu.shares"), "cpu.weight"));
    ctx.stop_daemon();
    assert_eq!(files.map(|file| fs::read_to_string(file).unwrap().trim().to_owned()), [three.clone(), three]);
    ctx.start_daemon();
    for mut child in [first, second] {
        for zone in ["a", "b"] {
            ctx.sh(zone, "kill -9 -1");
        }
        let _ = child.wait();
    }
    ctx.finish();
}

#[test]
fn doctor_says_what_keeps_shares_and_why_nothing_better() {
    let backend = |ctx: &TestCtx| {
        let findings = ctx.json(&["doctor"]);
        let findings = findings["findings"].as_array().unwrap();
        findings.iter().find(|f| f["subject"] == "CPU backend").unwrap()["found"].as_str().unwrap().to_owned()
    };
    let mut ctx = TestCtx::with(None, &["--cpu-backend", "shares"]);
    let said = backend(&ctx);
    assert!(
        said.starts_with("shares; ") && said.contains("not deficit: not permitted by cpu-backend"),
        "{said}"
    );
    ctx.stop_daemon();
    ctx.options = ["--cpu-backend", "deficit,shares"].map(str::to_owned).to_vec();
    ctx.start_daemon();
    assert!(backend(&ctx).starts_with("deficit"), "{}", backend(&ctx));
    ctx.finish();
}
