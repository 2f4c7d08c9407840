//! The fair-share scheduler, as an administrator meets it. There is one of a kernel's: one test after the other.

use std::{
    fs,
    process::{Child, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use zone_tests::{TestCtx, wait};

static ONE: Mutex<()> = Mutex::new(());

/// A daemon with the scheduler; none where the kernel knows none, and then it says so.
fn scene() -> Option<(TestCtx, MutexGuard<'static, ()>)> {
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let ctx = TestCtx::with(None, &["--cpu-backend", "fss,deficit"]);
    wait::until("a backend is chosen", || !doctor(&ctx).0.starts_with("none"));
    let (found, meaning) = doctor(&ctx);
    if fs::metadata("/sys/kernel/sched_ext").is_err() {
        assert_eq!(found, "deficit; not fss: this kernel has no sched_ext");
        println!("skipped: {found}");
        return None;
    }
    assert_eq!(found, "fss", "{}", ctx.log());
    assert!(meaning.contains("a scheduler of zoned's own"), "{meaning}");
    Some((ctx, one))
}

/// What doctor says of the backend.
fn doctor(ctx: &TestCtx) -> (String, String) {
    let report = ctx.json(&["doctor"]);
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    let finding = all.iter().find(|f| f["subject"] == "CPU backend").unwrap_or_else(|| panic!("{report}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (text("found"), text("meaning"))
}

/// Busy processes in a zone until it is halted.
fn busy(ctx: &TestCtx, zone: &str, count: usize) -> Child {
    let script = "i=0; while [ $i -lt $1 ]; do (while :; do :; done) & i=$((i+1)); done; wait";
    let mut command = ctx.command(&["exec", zone, "--", "sh", "-c", script, "sh", &count.to_string()]);
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait::until("all are there", || tasks(ctx, zone) > count as u64);
    child
}

fn stat(ctx: &TestCtx, zone: &str) -> serde_json::Value {
    ctx.json(&["stat", zone])["stats"][0].clone()
}

fn tasks(ctx: &TestCtx, zone: &str) -> u64 {
    stat(ctx, zone)["processes"]["tasks"].as_u64().unwrap_or(0)
}

fn usage(ctx: &TestCtx, zone: &str) -> f64 {
    stat(ctx, zone)["cpu"]["usage_ns"].as_f64().unwrap()
}

/// What each zone has of what both have, in that time.
fn parts(ctx: &TestCtx, zones: [&str; 2], time: Duration) -> [f64; 2] {
    let before = zones.map(|zone| usage(ctx, zone));
    sleep(time);
    let after = zones.map(|zone| usage(ctx, zone));
    let had = [after[0] - before[0], after[1] - before[1]];
    had.map(|one| one / (had[0] + had[1]))
}

/// The first zone's part of what both have comes to this within a percent, in one window of three: what else the machine does
/// is in each of them.
#[track_caller]
fn first_has(ctx: &TestCtx, part: f64, what: &str) {
    let near = |_| {
        let shares = parts(ctx, ["a", "b"], Duration::from_secs(6));
        println!("{what}: {shares:.4?}");
        (shares[0] - part).abs() < 0.01
    };
    assert!((0..3).any(near), "{what}");
}

fn state() -> String {
    fs::read_to_string("/sys/kernel/sched_ext/state").unwrap().trim().to_owned()
}

fn loaded() -> String {
    fs::read_to_string("/sys/kernel/sched_ext/root/ops").unwrap_or_default().trim().to_owned()
}

/// Has the kernel take the scheduler away, as the watchdog would.
fn eject() {
    fs::write("/proc/sysrq-trigger", "S").unwrap();
}

/// The last events of schedulers.
fn lost(ctx: &TestCtx) -> Vec<(String, String)> {
    let events = ctx.ok(&["events", "--json"]);
    let events = events.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    events
        .filter(|event| event["kind"] == "scheduler-lost")
        .map(|event| (text(&event, "reason"), text(&event, "backend")))
        .collect()
}

#[test]
fn shares_hold_through_zonectl_while_zoned_is_dead_and_after() {
    let Some((mut ctx, _one)) = scene() else { return };
    ctx.boot("zone: a\ncpu: { shares: 100 }");
    ctx.boot("zone: b\ncpu: { shares: 300 }");
    let (mut many, mut few) = (busy(&ctx, "a", 12), busy(&ctx, "b", 3));
    first_has(&ctx, 0.25, "12 threads with 100 shares, 3 with 300");
    // Nobody looks after it for a while.
    ctx.kill_daemon();
    sleep(Duration::from_secs(3));
    assert_eq!((state().as_str(), loaded().as_str()), ("enabled", "zone_fss"));
    ctx.start_daemon();
    wait::until("it is taken over", || doctor(&ctx).0 == "fss");
    first_has(&ctx, 0.25, "taken over by another zoned");
    ctx.ok(&["set", "a", "cpu.shares=300"]);
    sleep(Duration::from_secs(1));
    first_has(&ctx, 0.5, "300 each");
    assert_eq!(stat(&ctx, "a")["entitlement"]["kept_by"], "fss");
    for zone in ["a", "b"] {
        ctx.ok(&["halt", zone]);
    }
    let _ = (many.wait(), few.wait());
    ctx.stop_daemon();
    wait::until("the last one out has put the kernel's own back", || state() == "disabled");
}

#[test]
#[ignore = "takes minutes"]
fn a_hundred_kills_of_zoned_under_load_change_nothing() {
    let Some((mut ctx, _one)) = scene() else { return };
    ctx.boot("zone: a\ncpu: { shares: 100 }");
    ctx.boot("zone: b\ncpu: { shares: 300 }");
    let mut loads = [busy(&ctx, "a", 8), busy(&ctx, "b", 2)];
    let zones = |ctx: &TestCtx| ["a", "b"].map(|zone| (ctx.info(zone)["init_pid"].clone(), tasks(ctx, zone)));
    let (before, objects) = (zones(&ctx), objects());
    let mut used = ["a", "b"].map(|zone| usage(&ctx, zone));
    for n in 0..100 {
        ctx.kill_daemon();
        assert_eq!((state().as_str(), loaded().as_str()), ("enabled", "zone_fss"), "{n}");
        ctx.start_daemon();
        assert_eq!(zones(&ctx), before, "{n}");
        let now = ["a", "b"].map(|zone| usage(&ctx, zone));
        assert!(now[0] > used[0] && now[1] > used[1], "{n}: counters go on: {used:?} {now:?}");
        used = now;
    }
    wait::until("it is taken over", || doctor(&ctx).0 == "fss");
    assert!(lost(&ctx).is_empty());
    // What a killed one held is freed some time later.
    wait::until("nothing more is loaded than before", || self::objects() == objects);
    first_has(&ctx, 0.25, "after a hundred kills");
    for zone in ["a", "b"] {
        ctx.ok(&["halt", zone]);
    }
    loads.iter_mut().for_each(|load| drop(load.wait()));
    ctx.finish();
}

/// How many eBPF programs, maps and links there are, as bpftool says.
fn objects() -> [usize; 3] {
    ["prog", "map", "link"].map(|kind| {
        let listed = std::process::Command::new("bpftool").args([kind, "list"]).output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count()
    })
}

#[test]
fn a_zone_without_shares_and_one_with_a_cap_are_halted_at_once_under_load() {
    let Some((ctx, _one)) = scene() else { return };
    ["idle", "capped", "busy"].iter().for_each(|zone| ctx.boot(&format!("zone: {zone}")));
    let mut loads = ["idle", "capped", "busy"].map(|zone| busy(&ctx, zone, 6));
    ctx.ok(&["set", "idle", "cpu.shares=0"]);
    ctx.ok(&["set", "capped", "cpu.cap=0.02"]);
    let [idle, _] = parts(&ctx, ["idle", "busy"], Duration::from_secs(5));
    println!("without shares, under load: {:.3} %", idle * 100.0);
    assert!(idle < 0.005, "{idle}");
    for zone in ["idle", "capped", "busy"] {
        let begun = Instant::now();
        ctx.ok(&["halt", zone]);
        println!("{zone} halted in {:?}", begun.elapsed());
    }
    loads.iter_mut().for_each(|load| drop(load.wait()));
    assert_eq!(loaded(), "zone_fss", "{}", ctx.log());
}

#[test]
fn what_the_kernel_takes_away_is_loaded_again_once_and_then_left_alone() {
    let Some((ctx, _one)) = scene() else { return };
    ctx.boot("zone: a");
    let mut load = busy(&ctx, "a", 4);
    eject();
    wait::until("the kernel has its own back", || state() == "disabled" || !lost(&ctx).is_empty());
    wait::until("it is loaded again", || lost(&ctx).len() == 1 && loaded() == "zone_fss");
    assert_eq!(doctor(&ctx).0, "fss");
    eject();
    wait::until("the other backend keeps shares", || doctor(&ctx).0.starts_with("deficit; not fss: "));
    let told = lost(&ctx);
    println!("{told:?} {:?}", doctor(&ctx));
    assert!(told.iter().all(|(reason, _)| reason.contains("sysrq")), "{told:?}");
    assert_eq!(told.iter().map(|(_, backend)| backend.as_str()).collect::<Vec<_>>(), ["fss", "deficit"]);
    assert_eq!(state(), "disabled");
    assert_eq!(tasks(&ctx, "a"), 6, "no task was lost");
    ctx.ok(&["halt", "a"]);
    let _ = load.wait();
}

/// A busy process of the host's on CPU 0; ended when dropped.
struct Host(Child);

impl Host {
    fn busy() -> Self {
        let mut command = std::process::Command::new("taskset");
        Self(
            command
                .args(["-c", "0", "sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The host's part of what it and the zone `a` have comes to this within three percent, in one window of three. All that the
/// host's processes do counts for it.
#[track_caller]
fn host_has(ctx: &TestCtx, part: f64, what: &str) {
    let near = |_| {
        let shares = parts(ctx, ["global", "a"], Duration::from_secs(6));
        println!("{what}: {shares:.4?}");
        (shares[0] - part).abs() < 0.03
    };
    assert!((0..3).any(near), "{what}");
}

#[test]
fn the_hosts_own_processes_have_the_shares_they_were_given() {
    let Some((mut ctx, _one)) = scene() else { return };
    ctx.boot("zone: a\ncpu: { shares: 100, cpus: 0 }");
    let said = ctx.ok(&["set", "global", "cpu.shares=300"]);
    assert!(said.contains("global: cpu.shares is 300, kept by fss"), "{said}");
    let global = stat(&ctx, "global")["entitlement"].clone();
    assert_eq!(
        (&global["shares"], &global["kept_by"], &global["share_percent"]),
        (&300.into(), &"fss".into(), &75.0.into())
    );
    let shifts = ctx.json(&["whatif", "a", "cpu.shares=900"])["shifts"].clone();
    let names: Vec<_> = shifts.as_array().unwrap().iter().map(|shift| shift["zone"].clone()).collect();
    assert_eq!(names, ["global", "a"], "{shifts}");
    assert_eq!(
        (&shifts[0]["before"]["share_percent"], &shifts[0]["after"]["share_percent"]),
        (&75.0.into(), &25.0.into())
    );
    let shifts = ctx.json(&["whatif", "global", "cpu.shares=100"])["shifts"].clone();
    assert_eq!(shifts[1]["after"]["share_percent"], 50.0, "{shifts}");
    let (mut zone, _host) = (busy(&ctx, "a", 2), Host::busy());
    host_has(&ctx, 0.75, "300 of the host's, 100 of the zone's");
    ctx.ok(&["set", "global", "cpu.shares=100"]);
    sleep(Duration::from_secs(1));
    host_has(&ctx, 0.5, "100 each");
    ctx.ok(&["set", "global", "cpu.shares=300"]);
    ctx.kill_daemon();
    ctx.start_daemon();
    wait::until("it is taken over", || doctor(&ctx).0 == "fss");
    host_has(&ctx, 0.75, "taken over by another zoned");
    eject();
    wait::until("it is loaded again", || lost(&ctx).len() == 1 && loaded() == "zone_fss");
    host_has(&ctx, 0.75, "loaded again");
    ctx.ok(&["halt", "a"]);
    let _ = zone.wait();
    ctx.finish();
}
