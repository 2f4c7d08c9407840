//! What eBPF counts of a zone against what the kernel itself counts.

use std::time::Duration;

use serde_json::Value;
use zone_tests::{TestCtx, wait};

/// One zone's row of `zonectl stat`.
fn stat(ctx: &TestCtx, zone: &str) -> Value {
    let rows = ctx.json(&["stat", zone]);
    let row = rows["stats"].as_array().and_then(|rows| rows.iter().find(|row| row["zone"] == zone));
    row.cloned().unwrap_or_else(|| panic!("no row for {zone}: {rows}"))
}

fn number(row: &Value, group: &str, key: &str) -> u64 {
    row[group][key].as_u64().unwrap_or_else(|| panic!("no {group}.{key} in {row}"))
}

/// CPU time by eBPF and by the cgroup, seconds.
fn usage(row: &Value) -> (f64, f64) {
    let seconds = |key| number(row, "cpu", key) as f64 / 1e9;
    (seconds("usage_ns"), seconds("cgroup_usage_ns"))
}

/// Busy, sleeping and forking processes for ten seconds.
const LOAD: &str = "
    end=$(($(date +%s) + 10))
    (while [ $(date +%s) -lt $end ]; do :; done) &
    (while [ $(date +%s) -lt $end ]; do sleep 0.01; done) &
    i=0; while [ $i -lt 200000000 ] && [ $(date +%s) -lt $end ]; do i=$((i+1)); done &
    wait";

#[test]
fn cpu_time_by_ebpf_is_the_kernels_own() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a");
    ctx.boot("zone: idle");
    let (before, before_idle) = (usage(&stat(&ctx, "a")), usage(&stat(&ctx, "idle")));
    ctx.sh("a", LOAD).ok();
    let row = stat(&ctx, "a");
    let (after, after_idle) = (usage(&row), usage(&stat(&ctx, "idle")));
    let (ebpf, cgroup) = (after.0 - before.0, after.1 - before.1);
    let off = (ebpf - cgroup).abs() / cgroup * 100.0;
    println!("eBPF {ebpf:.3} s, cgroup {cgroup:.3} s, off by {off:.3} %");
    assert!(cgroup > 4.0, "the load did not work: {cgroup} s");
    assert!(off < 0.2, "eBPF says {ebpf} s, the cgroup {cgroup} s: {off:.3} % off");
    assert!(
        after_idle.0 - before_idle.0 < 0.05,
        "an idle zone was charged {:.3} s",
        after_idle.0 - before_idle.0
    );
    assert!(number(&row, "processes", "forks") > 100, "{row}");
    assert!(number(&row, "processes", "execs") > 100, "{row}");
    assert!(number(&row, "cpu", "switches_voluntary") > 100, "{row}");
    let waits: u64 =
        row["cpu"]["wait_log2_us"].as_array().into_iter().flatten().filter_map(Value::as_u64).sum();
    assert!(waits > 100 && number(&row, "cpu", "wait_ns") > 0, "{row}");
    ctx.finish();
}

#[test]
fn a_process_that_runs_without_a_pause_is_seen_while_it_runs() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\nprocess: { command: [/bin/sh, -c, 'while :; do :; done'] }");
    let first = usage(&stat(&ctx, "a")).0;
    wait::until("a second of CPU time is counted", || usage(&stat(&ctx, "a")).0 > first + 1.0);
    let (ebpf, cgroup) = usage(&stat(&ctx, "a"));
    assert!((ebpf - cgroup).abs() < 0.05, "eBPF {ebpf} s, cgroup {cgroup} s");
    ctx.finish();
}

#[test]
fn nested_groups_of_a_zone_are_the_zones() {
    let ctx = TestCtx::new();
    // As an init would, the zone's own command makes groups below its root and works in them.
    let script = "mkdir -p /sys/fs/cgroup/x/y/z && echo $$ > /sys/fs/cgroup/x/y/z/cgroup.procs || exit 3
        i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; grep ^0:: /proc/self/cgroup; exec sleep 1000";
    ctx.boot(&format!("zone: a\nprocess: {{ command: [/bin/sh, -c, {script:?}] }}"));
    wait::until("the work is done", || ctx.ok(&["console", "a", "--log"]).contains("0::/x/y/z"));
    let (ebpf, cgroup) = usage(&stat(&ctx, "a"));
    assert!(ebpf > 0.2 && (ebpf - cgroup).abs() < 0.05, "eBPF {ebpf} s, cgroup {cgroup} s");
    ctx.finish();
}

#[test]
fn counting_goes_on_without_the_daemon() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: a\nprocess: { command: [/bin/sh, -c, 'while :; do :; done'] }");
    let mut before = usage(&stat(&ctx, "a")).0;
    for _ in 0..3 {
        ctx.kill_daemon();
        // Time without a daemon in which the zone works.
        std::thread::sleep(Duration::from_millis(400));
        ctx.start_daemon();
        let (ebpf, cgroup) = usage(&stat(&ctx, "a"));
        assert!(ebpf > before + 0.05, "it went back or stood still: {before} s, then {ebpf} s");
        assert!((ebpf - cgroup).abs() < 0.05, "eBPF {ebpf} s, cgroup {cgroup} s");
        before = ebpf;
    }
    ctx.finish();
}

#[test]
fn processes_of_a_zone_are_events() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a");
    ctx.sh("a", "cp /bin/true /tmp/very-own-name; /tmp/very-own-name; sh -c 'exit 7'; true").ok();
    let mut seen = String::new();
    wait::until("fork, exec and exit are events", || {
        seen = ctx.ok(&["events", "a", "--processes", "--json"]);
        ["\"fork\"", "\"exec\"", "\"exit\"", "very-own-name"].iter().all(|word| seen.contains(word))
            // The wait status of `exit 7`.
            && seen.contains(&format!("\"status\":{}", 7 << 8))
    });
    assert!(!ctx.ok(&["events", "a", "--json"]).contains("very-own-name"), "asked for without processes");
    ctx.finish();
}
