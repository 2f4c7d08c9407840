//! CPUs that are one zone's alone: nobody else runs there, neither other zones nor the host's own processes.

mod running;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use zone_tests::{TestCtx, wait};

use crate::running::{Busy, Load, ran_on};

/// What one test has for itself is missing in another.
static ONE: Mutex<()> = Mutex::new(());

/// A daemon with these backends; none where CPUs cannot be dedicated, and then it says so.
fn scene(backends: &str) -> Option<(TestCtx, MutexGuard<'static, ()>)> {
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let ctx = TestCtx::with(None, &["--cpu-backend", backends]);
    let finding = doctor(&ctx, "cpu.dedicated");
    if finding["verdict"] != "good" {
        println!("skipped: {}", finding["found"]);
        ctx.finish();
        return None;
    }
    let kept_by = || doctor(&ctx, "CPU backend")["found"].as_str().unwrap_or_default().to_owned();
    wait::until("shares are kept by it", || kept_by().starts_with(backends));
    Some((ctx, one))
}

fn doctor(ctx: &TestCtx, subject: &str) -> Value {
    let report = ctx.json(&["doctor"]);
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|finding| finding["subject"] == subject).unwrap_or_else(|| panic!("{report}"))
}

fn tag(ctx: &TestCtx, zone: &str) -> String {
    let info = ctx.info(zone);
    format!("{}.{}", info["uuid"].as_str().unwrap_or_default(), info["boot"])
}

/// Where the zones' groups are; cgroup2 is the only tree where CPUs can be dedicated.
fn groups(ctx: &TestCtx) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(&ctx.cgroup)
}

/// A file of a zone's group.
fn of_zone(ctx: &TestCtx, zone: &str, file: &str) -> String {
    said(&groups(ctx).join(tag(ctx, zone)).join(file))
}

/// A limit of `zonectl info`: its value, as the kernel has it.
fn in_force(ctx: &TestCtx, zone: &str, key: &str) -> Option<String> {
    let info = ctx.info(zone);
    let row = info["limits"].as_array()?.iter().find(|row| row["key"] == key)?;
    row["limit"].as_str().map(str::to_owned)
}

fn said(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

fn partition(ctx: &TestCtx, zone: &str) -> String {
    of_zone(ctx, zone, "cpuset.cpus.partition")
}

/// What all zones together may have for themselves.
fn exclusive(ctx: &TestCtx) -> String {
    said(&groups(ctx).join("cpuset.cpus.exclusive"))
}

/// Groups that are roots of partitions, or were to be.
fn partitions() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        if fs::read_to_string(folder.join("cpuset.cpus.partition")).is_ok_and(|text| text.starts_with("root"))
        {
            found.push(folder.to_owned());
        }
        let below = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        below.filter(|path| path.is_dir()).for_each(|path| walk(&path, found));
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &mut found);
    found
}

/// What zones are entitled to, in CPUs.
fn entitled(ctx: &TestCtx, zone: &str) -> f64 {
    ctx.json(&["stat", zone])["stats"][0]["entitlement"]["cpus"].as_f64().unwrap()
}

/// None but zone a's threads run on CPU 1, and others do once it is halted.
fn nobody_else(backends: &str) {
    let Some((ctx, _one)) = scene(backends) else { return };
    ctx.boot("zone: b");
    let (_many, host) = (Load::start(&ctx, "b", 3, ""), [Busy::start(), Busy::start()]);
    // One that was bound to it before.
    let bound = Load::start(&ctx, "b", 1, "taskset -c 1");
    ctx.boot("zone: a\ncpu: { cpus: 1, dedicated: true }");
    assert_eq!((partition(&ctx, "a").as_str(), exclusive(&ctx).as_str()), ("root", "1"));
    let busy = Load::start(&ctx, "a", 2, "");
    let tag_of_a = tag(&ctx, "a");
    let on = ran_on(1);
    println!("on CPU 1 under {backends}: {on:?}");
    assert!(!on.is_empty() && on.iter().all(|who| who.contains(&tag_of_a)), "{on:?}");
    ctx.zonectl(&["exec", "b", "--", "taskset", "-c", "1", "true"]).fails(1, "failed to set");
    ctx.sh("a", "echo member > /sys/fs/cgroup/cpuset.cpus.partition").fails(2, "Permission denied");
    // By our scheduler the host's own processes have a part of what is left.
    let others = if backends == "fss" { 2.0 } else { 1.0 };
    assert_eq!((entitled(&ctx, "a"), entitled(&ctx, "b")), (1.0, 1.0 / others));
    // The kernel's scheduler may leave one CPU to the host's.
    drop((busy, bound, host));
    ctx.ok(&["halt", "a"]);
    assert_eq!(partitions(), Vec::<PathBuf>::new());
    assert_eq!((exclusive(&ctx).as_str(), entitled(&ctx, "b")), ("", 2.0 / others));
    let again = Load::start(&ctx, "b", 4, "");
    let on = ran_on(1);
    println!("on CPU 1 after the halt: {on:?}");
    let tag_of_b = tag(&ctx, "b");
    assert!(on.iter().any(|who| who.contains(&tag_of_b)), "{on:?}");
    drop(again);
}

#[test]
fn nobody_else_runs_there_by_the_kernels_scheduler() {
    nobody_else("shares");
}

#[test]
fn nobody_else_runs_there_by_our_scheduler() {
    if fs::metadata("/sys/kernel/sched_ext").is_err() {
        println!("skipped: this kernel has no sched_ext");
        return;
    }
    nobody_else("fss");
}

#[test]
fn it_is_given_and_taken_while_the_zone_runs_and_outlives_the_daemon() {
    let Some((mut ctx, _one)) = scene("shares") else { return };
    ctx.boot("zone: a\ncpu: { cpus: 1, shares: 100 }");
    ctx.boot("zone: b\ncpu: { cpus: 0-1, shares: 300 }");
    let cpus = |ctx: &TestCtx, zone| of_zone(ctx, zone, "cpuset.cpus");
    let all = |ctx: &TestCtx| (partition(ctx, "a"), cpus(ctx, "b"), exclusive(ctx));
    let state = |kind: &str, cpus: &str, all: &str| (kind.to_owned(), cpus.to_owned(), all.to_owned());
    assert_eq!(all(&ctx), state("member", "0-1", ""));
    let shifts = ctx.json(&["whatif", "a", "cpu.dedicated=true"]);
    let of = |n: usize, when: &str| shifts["shifts"][n][when]["cpus"].as_f64().unwrap();
    assert_eq!([of(0, "before"), of(0, "after"), of(1, "before"), of(1, "after")], [0.5, 1.0, 1.5, 1.0]);
    ctx.ok(&["set", "a", "cpu.dedicated=true"]);
    assert_eq!(all(&ctx), state("root", "0", "1"));
    assert_eq!(in_force(&ctx, "a", "cpu.dedicated").as_deref(), Some("true"));
    assert_eq!(in_force(&ctx, "b", "cpu.cpus").as_deref(), Some("0"));
    // A change of something else changes nothing of this.
    ctx.ok(&["set", "b", "cpu.shares=200"]);
    ctx.ok(&["set", "a", "cpu.cap=0.5", "tasks.max=99"]);
    assert_eq!(all(&ctx), state("root", "0", "1"));
    ctx.kill_daemon();
    assert_eq!(exclusive(&ctx), "1");
    ctx.start_daemon();
    assert_eq!(all(&ctx), state("root", "0", "1"));
    assert_eq!((entitled(&ctx, "a"), entitled(&ctx, "b")), (0.5, 1.0));
    ctx.ok(&["reboot", "a"]);
    assert_eq!(all(&ctx), state("root", "0", "1"));
    // To another CPU, and back to none of its own.
    let tag_of_a = tag(&ctx, "a");
    ctx.ok(&["set", "a", "cpu.cpus=0"]);
    assert_eq!(all(&ctx), state("root", "1", "0"));
    ctx.ok(&["set", "a", "cpu.dedicated="]);
    assert_eq!(all(&ctx), state("member", "0-1", ""));
    // A daemon that died between the kernel and the disk: what is configured is what counts.
    ctx.ok(&["set", "a", "cpu.dedicated=true"]);
    ctx.kill_daemon();
    fs::write(groups(&ctx).join(&tag_of_a).join("cpuset.cpus.partition"), "member").unwrap();
    ctx.start_daemon();
    assert_eq!(all(&ctx), state("root", "1", "0"));
    ctx.finish();
    assert_eq!(partitions(), Vec::<PathBuf>::new());
}

#[test]
fn what_would_take_a_cpu_from_somebody_is_refused_and_changes_nothing() {
    let Some((ctx, _one)) = scene("shares") else { return };
    ctx.boot("zone: a\ncpu: { cpus: 1, dedicated: true }");
    ctx.boot("zone: b\ncpu: { cpus: 0 }");
    let before = || (partition(&ctx, "a"), exclusive(&ctx), ctx.ok(&["export", "b"]));
    let was = before();
    for (values, says) in [
        (["cpu.cpus=1", "cpu.dedicated=true"], "zone b: cpu.dedicated: CPU 1 is dedicated to zone a already"),
        (["cpu.cpus=1", "order=3"], "zone b: cpu.cpus: none of 1 is left: dedicated are 1 to zone a"),
        (["cpu.cpus=0", "cpu.dedicated=true"], "zone b: cpu.dedicated: would leave nobody else a CPU"),
        (["cpu.cpus=0-1", "cpu.dedicated=true"], "cpu.dedicated: would leave nobody else a CPU"),
        (["cpu.cpus=", "cpu.dedicated=true"], "cpu.dedicated: which CPUs it has for itself is not said"),
    ] {
        ctx.zonectl(&["set", "b", values[0], values[1]]).fails(1, says);
        assert_eq!(before(), was, "{values:?}");
    }
    ctx.zonectl(&["whatif", "b", "cpu.cpus=1"]).fails(1, "none of 1 is left");
    // One that is booted beside it.
    ctx.create("zone: c\ncpu: { cpus: 1, dedicated: true }").ok();
    ctx.ok(&["install", "c"]);
    ctx.zonectl(&["boot", "c"]).fails(1, "CPU 1 is dedicated to zone a already");
    assert_eq!((before(), ctx.state("c").as_str()), (was, "installed"));
    ctx.ok(&["set", "a", "cpu.dedicated=false"]);
    ctx.ok(&["set", "a", "cpu.cpus=0"]);
    ctx.ok(&["boot", "c"]);
    assert_eq!(partition(&ctx, "c"), "root");
    // Nobody can be left without a CPU.
    ctx.ok(&["set", "c", "cpu.dedicated=false"]);
    ctx.ok(&["set", "b", "cpu.cpus=1"]);
    ctx.zonectl(&["set", "c", "cpu.dedicated=true"])
        .fails(1, "would leave zone b no CPU, which may run on 1 alone");
    assert_eq!(partition(&ctx, "c"), "member");
    ctx.finish();
    assert_eq!(partitions(), Vec::<PathBuf>::new());
}

#[test]
fn what_the_kernel_refuses_is_told_with_its_reason_and_undone() {
    let Some((ctx, _one)) = scene("shares") else { return };
    ctx.boot("zone: a\ncpu: { cpus: 1 }");
    ctx.boot("zone: b\ncpu: { cpus: 0-1 }");
    // A group of the host's own may run there and nowhere else.
    let other = groups(&ctx).with_file_name(format!("{}-other", ctx.cgroup));
    fs::create_dir(&other).unwrap();
    fs::write(other.join("cpuset.cpus"), "1").unwrap();
    let failed = ctx.zonectl(&["set", "a", "cpu.shares=7", "cpu.dedicated=true"]);
    println!("{}", failed.stderr);
    let why = "cpu.dedicated: the kernel does not give it these CPUs for itself: another group";
    failed.fails(1, why);
    assert_eq!((partition(&ctx, "a").as_str(), exclusive(&ctx).as_str()), ("member", ""));
    assert_eq!(of_zone(&ctx, "b", "cpuset.cpus"), "0-1");
    assert_eq!(in_force(&ctx, "a", "cpu.shares").as_deref(), Some("100"));
    // So is a boot.
    ctx.create("zone: c\ncpu: { cpus: 1, dedicated: true }").ok();
    ctx.ok(&["install", "c"]);
    ctx.ok(&["halt", "a"]);
    let failed = ctx.zonectl(&["boot", "c"]);
    println!("{}", failed.stderr);
    failed.fails(1, why);
    assert_eq!((ctx.state("c").as_str(), exclusive(&ctx).as_str()), ("installed", ""));
    assert_eq!(ctx.json(&["audit"])["leftovers"].as_array().map(Vec::len), Some(0));
    fs::remove_dir(&other).unwrap();
    ctx.ok(&["boot", "c"]);
    assert_eq!(partition(&ctx, "c"), "root");
    ctx.finish();
}

#[test]
fn where_it_cannot_be_kept_it_is_refused_with_the_reason() {
    let ctx = TestCtx::new();
    let finding = doctor(&ctx, "cpu.dedicated");
    if finding["verdict"] == "good" {
        println!("skipped: it can be kept here");
        return;
    }
    assert_eq!(finding["verdict"], "limited", "{finding}");
    let why = finding["found"].as_str().unwrap().split(';').next().unwrap();
    println!("{why}");
    let why = format!("cpu.dedicated: {why}");
    ctx.create("zone: a\ncpu: { cpus: 1, dedicated: true }").fails(1, &why);
    ctx.boot("zone: a\ncpu: { cpus: 1 }");
    ctx.zonectl(&["set", "a", "cpu.dedicated=true"]).fails(1, &why);
    ctx.zonectl(&["whatif", "a", "cpu.dedicated=true"]).fails(1, &why);
    assert_eq!(in_force(&ctx, "a", "cpu.dedicated"), None);
    assert!(!ctx.ok(&["export", "a"]).contains("dedicated"));
    ctx.finish();
}
