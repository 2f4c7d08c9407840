//! All zones together, against the host's own processes.

use std::{
    fs,
    process::{Child, Command},
    thread,
    time::Duration,
};

use zone_tests::TestCtx;

use crate::{cpu::Load, group_file, is_v1, stat};

/// A busy process of the host's on CPU 1; ended when dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        // In a session of its own: with autogroups, those of one are weighed together (sched(7)).
        let mut command = Command::new("setsid");
        Self(command.args(["taskset", "-c", "1", "sh", "-c", "while :; do :; done"]).spawn().unwrap())
    }

    /// CPU time it has had, ns (Documentation/scheduler/sched-stats.rst).
    fn used(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.0.id())).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The weight of the zones' parent group, as shares.
fn together(ctx: &TestCtx) -> String {
    let group = group_file(ctx, "a", ("cpu", "."), ".");
    let parent = group.ancestors().nth(1).unwrap();
    let file = if is_v1("cpu") { "cpu.shares" } else { "cpu.weight" };
    fs::read_to_string(parent.join(file)).unwrap().trim().to_owned()
}

/// What the kernel's default weight is written as.
fn default_weight() -> &'static str {
    if is_v1("cpu") { "1024" } else { "100" }
}

#[test]
fn zones_together_have_their_shares_against_the_hosts_own() {
    let mut ctx = TestCtx::with(None, &["--zones-shares", "300"]);
    ctx.boot("zone: a\ncpu: { cpus: 1, shares: 7 }");
    {
        let (_zone, host) = (Load::start(&ctx, "a", 2), Busy::start());
        let read = || [stat(&ctx, "a")["cpu"]["cgroup_usage_ns"].as_f64().unwrap(), host.used()];
        let right = |seconds: u64| {
            let before = read();
            thread::sleep(Duration::from_secs(seconds));
            let after = read();
            let ratio = (after[0] - before[0]) / (after[1] - before[1]);
            println!("300 asked against the host's 100: {ratio:.3}:1, {seconds} s");
            (ratio / 3.0 - 1.0).abs() < 0.05
        };
        assert!([3, 6, 12].into_iter().any(right), "not 3:1");
    }
    let findings = ctx.json(&["doctor"]);
    let all = findings["findings"].as_array().unwrap();
    let global = all.iter().find(|finding| finding["subject"] == "shares of global").unwrap().to_string();
    assert!(global.contains("all zones together have 300"), "{global}");
    ctx.kill_daemon();
    ctx.options.clear();
    ctx.start_daemon();
    assert_eq!(together(&ctx), default_weight(), "a daemon that is not told gives the kernel's default");
    ctx.finish();
}
