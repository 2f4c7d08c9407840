//! CPU: what is asked for is what is given, by eBPF and by the kernel's own account.

use std::{
    fs,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use zone_tests::{TestCtx, wait};

use crate::{group_file, stat};

/// Busy threads of a zone; ended when dropped.
pub(crate) struct Load<'a> {
    ctx: &'a TestCtx,
    zone: &'a str,
    client: Child,
}

impl<'a> Load<'a> {
    pub(crate) fn start(ctx: &'a TestCtx, zone: &'a str, threads: usize) -> Self {
        let script = "i=0; while [ $i -lt $1 ]; do (while :; do :; done) & i=$((i+1)); done; wait";
        let load = Self::of(ctx, zone, &["sh", "-c", script, "sh", &threads.to_string()]);
        let tasks = || stat(ctx, zone)["processes"]["tasks"].as_u64();
        wait::until("all threads are there", || tasks() > Some(threads as u64 + 1));
        load
    }
}

impl<'a> Load<'a> {
    /// Whatever a command does.
    pub(crate) fn of(ctx: &'a TestCtx, zone: &'a str, command: &[&str]) -> Self {
        let mut client = ctx.command(&[&["exec", zone, "--"], command].concat());
        let client = client.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { ctx, zone, client }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let _ = self.ctx.sh(self.zone, "kill -9 -1");
        let _ = self.client.wait();
    }
}

/// CPU time of two zones over an interval, by eBPF and by the cgroup, in CPUs.
fn measure(ctx: &TestCtx, seconds: f64) -> [[f64; 2]; 2] {
    let read = || {
        let rows = ctx.json(&["stat"]);
        let of = |zone: &str| {
            rows["stats"].as_array().unwrap().iter().find(|r| r["zone"] == zone).unwrap().clone()
        };
        [of("a"), of("b")]
    };
    let before = read();
    thread::sleep(Duration::from_secs_f64(seconds));
    let after = read();
    let moved = |i: usize, path: [&str; 2]| {
        let number = |row: &Value| row[path[0]][path[1]].as_f64().unwrap();
        number(&after[i]) - number(&before[i])
    };
    let wall = after[0]["at_ns"].as_f64().unwrap() - before[0]["at_ns"].as_f64().unwrap();
    ["usage_ns", "cgroup_usage_ns"].map(|key| [0, 1].map(|i| moved(i, ["cpu", key]) / wall))
}

/// Measures until it is right, in longer and longer windows: what else the machine does evens out.
#[track_caller]
pub(crate) fn converges(what: &str, ctx: &TestCtx, right: impl Fn(&[f64; 2]) -> Result<String, String>) {
    let mut said = String::new();
    // The load has just begun, or its entitlement just changed.
    thread::sleep(Duration::from_millis(300));
    let mut seconds = 3.0;
    while seconds <= wait::limit(12).as_secs_f64() {
        let [ebpf, cgroup] = measure(ctx, seconds).map(|pair| right(&pair));
        match (ebpf, cgroup) {
            (Ok(ebpf), Ok(cgroup)) => {
                println!("{what}: eBPF {ebpf}, cgroup {cgroup}, {seconds} s");
                return;
            }
            (ebpf, cgroup) => said = format!("eBPF {ebpf:?}, cgroup {cgroup:?}"),
        }
        seconds *= 2.0;
    }
    panic!("{what}: {said}");
}

/// `b` is asked for `ratio` times what `a` is.
fn ratio(ratio: f64) -> impl Fn(&[f64; 2]) -> Result<String, String> {
    move |[a, b]| {
        let off = (b / a / ratio - 1.0) * 100.0;
        let text = format!("1:{:.3} ({off:+.2} %)", b / a);
        if off.abs() <= 3.0 { Ok(text) } else { Err(text) }
    }
}

fn pair(ctx: &TestCtx) {
    for zone in ["a", "b"] {
        ctx.boot(&format!("zone: {zone}\ncpu: {{ cpus: 1 }}"));
    }
}

/// One test, since each measurement needs its CPU for itself.
#[test]
fn zones_get_what_they_are_entitled_to() {
    let ctx = TestCtx::new();
    pair(&ctx);
    for threads in [1, 4, 16] {
        let _busy = [Load::start(&ctx, "a", threads), Load::start(&ctx, "b", threads)];
        for (asked, shares) in [(1.0, ["100", "100"]), (3.0, ["20", "60"]), (10.0, ["1", "10"])] {
            ctx.ok(&["set", "a", &format!("cpu.shares={}", shares[0])]);
            ctx.ok(&["set", "b", &format!("cpu.shares={}", shares[1])]);
            let entitled = stat(&ctx, "b")["entitlement"]["share_percent"].as_f64().unwrap();
            assert!((entitled - 100.0 * asked / (asked + 1.0)).abs() < 0.01, "{entitled}");
            converges(&format!("1:{asked} with {threads} threads each"), &ctx, ratio(asked));
        }
    }
    {
        // Shares are the zone's, not its threads'.
        let _busy = [Load::start(&ctx, "a", 16), Load::start(&ctx, "b", 1)];
        ctx.ok(&["set", "a", "cpu.shares=100"]);
        ctx.ok(&["set", "b", "cpu.shares=100"]);
        converges("1:1 with 16 threads against one", &ctx, ratio(1.0));
        ctx.ok(&["set", "a", "cpu.shares=0"]);
        let idle = |pair: &[f64; 2]| {
            let percent = 100.0 * pair[0] / (pair[0] + pair[1]);
            let text = format!("{percent:.2} %");
            if percent < 1.0 { Ok(text) } else { Err(text) }
        };
        converges("no shares, against a busy zone", &ctx, idle);
        ctx.ok(&["set", "a", "cpu.shares=100"]);
    }
    ctx.finish();
}

/// What a cap lets a zone have is exact wherever the cap is what holds it back: in every period, and not only in those
/// in which the rest of the machine left it that much.
#[test]
fn a_cap_is_kept_to() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\ncpu: { cap: 0.5 }");
    ctx.boot("zone: b");
    let busy = Load::start(&ctx, "a", 2);
    let periods = group_file(&ctx, "a", ("cpu", "cpu.stat"), "cpu.stat");
    let periods = || {
        let text = fs::read_to_string(&periods).unwrap();
        let of =
            |word: &str| text.lines().find_map(|l| l.strip_prefix(word)?.trim().parse::<f64>().ok()).unwrap();
        [of("nr_periods"), of("nr_throttled")]
    };
    let mut said = String::new();
    // Two threads take a period's part at its beginning: a window holds one such beginning more or less than it is long,
    // of ten a second. In six seconds that is 1.7 %.
    for seconds in [6.0, 7.0, 8.0] {
        let before = periods();
        let [ebpf, cgroup] = measure(&ctx, seconds).map(|pair| pair[0]);
        let after = periods();
        let held = (after[1] - before[1]) / (after[0] - before[0]);
        let off = [ebpf, cgroup].map(|used| (used / 0.5 - 1.0) * 100.0);
        said = format!(
            "eBPF {ebpf:.3} CPUs ({:+.2} %), cgroup {cgroup:.3} CPUs ({:+.2} %), held back in {held:.2} of the periods",
            off[0], off[1]
        );
        println!("a cap of 0.5: {said}");
        assert!(off.iter().all(|off| *off < 2.0), "more than its cap: {said}");
        if off.iter().all(|off| *off > -2.0) {
            assert!(ctx.ok(&["info", "a"]).contains("periods held back"));
            drop(busy);
            return ctx.finish();
        }
        assert!(held < 0.98, "less than its cap though nobody else took it: {said}");
    }
    println!("skipped: others want the CPUs: {said}");
}

#[test]
fn a_zone_runs_on_its_cpus_alone() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\ncpu: { cpus: 1 }");
    let allowed = || ctx.sh("a", "grep Cpus_allowed_list /proc/self/status").ok();
    assert_eq!(allowed().split_whitespace().last(), Some("1"));
    let init = ctx.info("a")["init_pid"].to_string();
    let of_init = || {
        let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("Cpus_allowed_list")).unwrap().to_owned();
        line.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(of_init(), "1");
    ctx.ok(&["set", "a", "cpu.cpus=0"]);
    assert_eq!(of_init(), "0", "processes that run are moved");
    ctx.zonectl(&["exec", "a", "--", "taskset", "-c", "1", "true"]).fails(1, "failed to set");
    ctx.ok(&["set", "a", "cpu="]);
    assert_ne!(of_init(), "0");
    ctx.finish();
}
