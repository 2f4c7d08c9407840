//! A paused zone stands still, and goes on as if nothing had been.

use std::{fs, time::Instant};

use zone_tests::{TestCtx, wait};

use super::states::init;

/// A zone that counts, and the file it counts in, seen from the host.
fn counting(ctx: &TestCtx) -> impl Fn() -> u64 + use<> {
    let script = "i=0; while :; do i=$((i+1)); echo $i > /root/new; mv /root/new /root/count; done";
    ctx.boot(&format!("zone: p\nprocess: {{ command: [/bin/sh, -c, '{script}'] }}"));
    let file = format!("/proc/{}/root/root/count", init(ctx, "p"));
    let count = move || fs::read_to_string(&file).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
    wait::until("it counts", || count() > 2);
    count
}

#[test]
fn a_counter_stands_still_while_its_zone_is_paused() {
    let ctx = TestCtx::new();
    let count = counting(&ctx);
    ctx.ok(&["pause", "p"]);
    let stood = count();
    // Nothing can be waited for where nothing is to happen: a second is some hundred counts.
    let began = Instant::now();
    while began.elapsed() < wait::limit(1) {
        assert_eq!(count(), stood, "it counts on, {:?} after the pause", began.elapsed());
    }
    ctx.zonectl(&["exec", "p", "true"]).refuses(125, "cannot exec while it is paused");
    ctx.zonectl(&["shutdown", "p"]).refuses(1, "cannot shutdown while it is paused");
    ctx.ok(&["resume", "p"]);
    wait::until("it counts on", || count() > stood + 10);
    ctx.ok(&["exec", "p", "true"]);
    ctx.finish();
}

#[test]
fn a_paused_zone_can_be_halted() {
    let ctx = TestCtx::new();
    drop(counting(&ctx));
    ctx.ok(&["pause", "p"]);
    let began = Instant::now();
    ctx.ok(&["halt", "p"]);
    assert!(began.elapsed() < wait::limit(5), "{:?}", began.elapsed());
    assert_eq!(ctx.state("p"), "installed");
    ctx.ok(&["boot", "p"]);
    ctx.ok(&["exec", "p", "true"]);
    ctx.finish();
}

#[test]
fn a_command_in_a_paused_zone_goes_on_after_it() {
    let ctx = TestCtx::new();
    ctx.boot("zone: p");
    let script = "echo begun > /root/begun; until [ -e /root/go ]; do sleep 0.01; done; echo ended; exit 9";
    let session = {
        let command = ctx.command(&["exec", "p", "--", "/bin/sh", "-c", script]);
        std::thread::spawn(move || zone_tests::run(command))
    };
    let begun = format!("/proc/{}/root/root/begun", init(&ctx, "p"));
    wait::until("the command has begun", || fs::exists(&begun).unwrap_or(false));
    ctx.ok(&["pause", "p"]);
    ctx.ok(&["resume", "p"]);
    ctx.ok(&["exec", "p", "--", "touch", "/root/go"]);
    let ended = session.join().unwrap();
    assert_eq!((ended.code, ended.stdout.as_str()), (9, "ended\n"), "{}", ended.stderr);
    ctx.finish();
}
