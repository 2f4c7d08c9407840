//! What takes all it can get is stopped at its limit; others go on.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use zone_tests::{TestCtx, wait};

use crate::stat;

/// How long a neighbour or the daemon may take to answer while a bomb goes off, on a machine with other work.
const PROMPT: Duration = Duration::from_secs(3);

#[track_caller]
fn prompt(ctx: &TestCtx) {
    for args in [&["exec", "neighbour", "--", "true"][..], &["list"], &["stat"]] {
        let begun = Instant::now();
        ctx.ok(args);
        assert!(begun.elapsed() < wait::patiently(PROMPT), "{args:?} took {:?}", begun.elapsed());
    }
}

#[test]
fn a_memory_bomb_is_stopped_at_the_limit() {
    let ctx = TestCtx::new();
    ctx.boot("zone: neighbour");
    ctx.boot("zone: bomb\nmemory: { limit: 64M, swap: 0 }");
    let mut bomb = ctx.command(&["exec", "bomb", "--", "tail", "/dev/zero"]);
    let mut bomb = bomb.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut status = None;
    wait::until("the bomb is gone", || {
        prompt(&ctx);
        status = bomb.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(137), "it ended by SIGKILL");
    assert_eq!(ctx.state("bomb"), "running", "only what took too much is killed");
    ctx.ok(&["exec", "bomb", "--", "true"]);
    let row = stat(&ctx, "bomb");
    assert!(row["memory"]["oom_kills"].as_u64() >= Some(1), "{row}");
    assert_eq!(row["memory"]["limit"], 64 << 20);
    wait::until("it is an event", || ctx.ok(&["events", "bomb"]).contains("killed for want of memory"));
    assert!(!ctx.ok(&["events", "neighbour"]).contains("want of memory"));
    assert_eq!(stat(&ctx, "neighbour")["memory"]["oom_kills"], 0);
    ctx.finish();
}

#[test]
fn the_end_of_a_zone_by_its_limit_is_told() {
    let ctx = TestCtx::new();
    ctx.create(
        "zone: bomb\nmemory: { limit: 32M, swap: 0 }\nprocess: { init: /usr/bin/tail, command: [/dev/zero] }",
    )
    .ok();
    ctx.ok(&["install", "bomb"]);
    ctx.zonectl(&["boot", "bomb"]);
    ctx.wait_state("bomb", "installed");
    let events = ctx.ok(&["events", "bomb"]);
    assert!(events.contains("1 process killed for want of memory"), "{events}");
    ctx.finish();
}

#[test]
fn a_fork_bomb_is_stopped_at_the_limit() {
    let ctx = TestCtx::new();
    ctx.boot("zone: neighbour");
    ctx.boot("zone: bomb\ntasks: { max: 50 }");
    let mut bomb =
        ctx.command(&["exec", "bomb", "--", "sh", "-c", "bomb() { bomb | bomb & sleep 60; }; bomb"]);
    let mut bomb = bomb.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait::until("it runs into its limit", || {
        prompt(&ctx);
        stat(&ctx, "bomb")["processes"]["refused"].as_u64() > Some(0)
    });
    for _ in 0..10 {
        prompt(&ctx);
        let row = stat(&ctx, "bomb");
        assert!(row["processes"]["tasks"].as_u64() <= Some(50), "{row}");
    }
    wait::until("it is an event", || ctx.ok(&["events", "bomb"]).contains("tasks.max reached"));
    assert!(!ctx.ok(&["events", "neighbour"]).contains("tasks.max"));
    ctx.ok(&["halt", "bomb"]);
    let _ = bomb.wait();
    ctx.finish();
}

#[test]
fn what_is_full_says_so() {
    let ctx = TestCtx::new();
    ctx.boot("zone: full\ntasks: { max: 8 }");
    let fill = "i=0; while [ $i -lt 6 ]; do sleep 60 >/dev/null 2>&1 & i=$((i+1)); done; wait";
    let mut filler =
        ctx.command(&["exec", "full", "--", "sh", "-c", fill]).stdin(Stdio::null()).spawn().unwrap();
    wait::until("it is full", || stat(&ctx, "full")["processes"]["tasks"].as_u64() == Some(8));
    let said = ctx.zonectl(&["exec", "full", "--", "true"]);
    said.fails(125, "raise tasks.max");
    ctx.ok(&["set", "full", "tasks.max=20"]);
    ctx.ok(&["exec", "full", "--", "true"]);
    ctx.ok(&["halt", "full"]);
    let _ = filler.wait();
    ctx.finish();
}
