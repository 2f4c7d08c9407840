//! Limits that change while a zone runs, and that outlive the daemon.

use zone_tests::{TestCtx, wait};

use crate::{group_file, in_force, is_v1, stat};

const FULL: &str =
    "cpu: { shares: 30, cap: 0.5, cpus: 0 }\nmemory: { limit: 96M, swap: 0 }\ntasks: { max: 77 }";

fn all(ctx: &TestCtx, zone: &str) -> Vec<Option<String>> {
    let keys = ["cpu.shares", "cpu.cap", "cpu.cpus", "memory.limit", "memory.swap", "tasks.max"];
    keys.iter().map(|key| in_force(ctx, zone, key)).collect()
}

fn values(values: [&str; 6]) -> Vec<Option<String>> {
    values.iter().map(|v| (!v.is_empty()).then(|| (*v).to_owned())).collect()
}

#[test]
fn a_change_is_in_force_at_once_and_at_the_next_boot() {
    let ctx = TestCtx::new();
    ctx.boot(&format!("zone: a\n{FULL}"));
    assert_eq!(all(&ctx, "a"), values(["30", "0.5", "0", "96M", "0", "77"]));
    let text = ctx.ok(&["info", "a"]);
    assert!(text.contains("limits     cpu.shares ") && text.contains("tasks.max"), "{text}");
    // Up, then down: version 1 takes memory and memory with swap only in one order each.
    for (limit, swap) in [("256M", "64M"), ("40M", "8M"), ("41M", "0"), ("1G", "1G"), ("64M", "")] {
        let said =
            ctx.zonectl(&["set", "a", &format!("memory.limit={limit}"), &format!("memory.swap={swap}")]);
        assert!(said.ok().contains("in force now"));
        assert_eq!(in_force(&ctx, "a", "memory.limit").as_deref(), Some(limit));
        let swap = (!swap.is_empty()).then(|| swap.to_owned());
        assert_eq!(in_force(&ctx, "a", "memory.swap"), swap, "limit {limit}");
    }
    ctx.ok(&["set", "a", "cpu.shares=0", "cpu.cap=", "tasks.max=99"]);
    let changed = values(["0", "", "0", "64M", "", "99"]);
    assert_eq!(all(&ctx, "a"), changed);
    ctx.ok(&["set", "a", "cpu.shares=7"]);
    assert_eq!(in_force(&ctx, "a", "cpu.shares").as_deref(), Some("7"), "from idle to shares");
    ctx.ok(&["set", "a", "cpu.shares=0"]);
    ctx.ok(&["pause", "a"]);
    ctx.ok(&["set", "a", "tasks.max=98"]);
    ctx.ok(&["resume", "a"]);
    ctx.ok(&["set", "a", "tasks.max=99"]);
    ctx.ok(&["reboot", "a"]);
    assert_eq!(all(&ctx, "a"), changed);
    ctx.ok(&["set", "a", "cpu=", "memory=", "tasks="]);
    assert_eq!(all(&ctx, "a"), values(["100", "", "", "", "", ""]));
    let note = ctx.ok(&["set", "a", "order=4", "tasks.max=55"]);
    assert!(note.contains("next"), "not all of this is in force: {note}");
    assert_eq!(in_force(&ctx, "a", "tasks.max").as_deref(), Some("55"));
    ctx.finish();
}

#[test]
fn a_change_is_made_whole_or_not_at_all() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\ncpu: { shares: 30 }\nmemory: { limit: 128M, swap: 0 }\ntasks: { max: 77 }");
    ctx.sh("a", "head -c 50000000 /dev/zero > /dev/shm/held").ok();
    let before = (all(&ctx, "a"), ctx.ok(&["export", "a"]));
    let said = ctx.zonectl(&["set", "a", "cpu.shares=99", "memory.limit=16M", "tasks.max=88"]);
    said.fails(1, "zone a: memory.limit: 16M is below the 4");
    assert_eq!((all(&ctx, "a"), ctx.ok(&["export", "a"])), before);
    ctx.sh("a", "test $(stat -c %s /dev/shm/held) = 50000000").ok();
    ctx.sh("a", "rm /dev/shm/held").ok();
    ctx.ok(&["set", "a", "memory.limit=16M"]);
    ctx.finish();
}

/// What the kernel refused to write, and what it was given in vain before that, by the daemon's log from `since` on.
fn written(ctx: &TestCtx, since: usize) -> Vec<String> {
    let log = ctx.log();
    let lines = log[since..].lines().filter(|line| line.contains("limit path="));
    let value = |line: &str| {
        let (path, value) = line.split_once("limit path=")?.1.split_once(' ')?;
        Some(format!("{} {value}", path.rsplit_once('/')?.1))
    };
    lines.filter_map(value).collect()
}

#[test]
fn what_was_written_before_the_kernel_refused_is_put_back() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\ncpu: { shares: 30, cap: 1.5 }\ntasks: { max: 77 }");
    let before = (all(&ctx, "a"), ctx.ok(&["export", "a"]));
    let v1 = is_v1("cpu") && is_v1("cpuset");
    // Not less than a group below has (cpusets of version 1); no cap below the burst (cpu, both versions).
    let (refuses, refused) = if v1 {
        let below = group_file(&ctx, "a", ("cpuset", "test"), "");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("cpuset.cpus"), "1").unwrap();
        (below, "cpu.cpus: cannot write \"0\" to ")
    } else {
        let burst = group_file(&ctx, "a", ("cpu", "cpu.cfs_burst_us"), "cpu.max.burst");
        std::fs::write(&burst, "80000").unwrap();
        (burst, "cpu.cap: cannot write \"50000")
    };
    let since = ctx.log().len();
    let set = ["set", "a", "cpu.shares=99", "cpu.cap=0.5", "cpu.cpus=0", "tasks.max=88"];
    let said = ctx.zonectl(&set).fails(1, refused);
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!((all(&ctx, "a"), ctx.ok(&["export", "a"])), before);
    let written = written(&ctx, since);
    if v1 {
        // CPUs come last: they are given to all zones together.
        let wanted = ["shares value=\"990\"", "cfs_quota_us value=\"50000\"", "pids.max value=\"88\""];
        let undone = ["shares value=\"300\"", "cfs_quota_us value=\"150000\"", "pids.max value=\"77\""];
        let wanted = wanted.iter().chain(&["cpuset.cpus value=\"0\""]);
        let mut lines = written.iter();
        let told = |part: &&str| lines.any(|line| line.contains(part));
        assert!(wanted.chain(&undone).all(told), "{written:#?}");
        std::fs::remove_dir(&refuses).unwrap();
    } else {
        std::fs::write(&refuses, "0").unwrap();
    }
    ctx.ok(&set);
    assert_eq!(all(&ctx, "a"), values(["99", "0.5", "0", "", "", "88"]));
    ctx.finish();
}

#[test]
fn what_runs_is_not_cut_off_by_fewer_tasks() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\nprocess: { command: [sh, -c, 'i=0; while [ $i -lt 20 ]; do sleep 600 & i=$((i+1)); done; wait'] }");
    wait::until("all run", || stat(&ctx, "a")["processes"]["tasks"].as_u64() >= Some(21));
    ctx.zonectl(&["set", "a", "tasks.max=10"]).fails(1, "tasks.max: 10 is below the 2");
    assert_eq!(in_force(&ctx, "a", "tasks.max"), None);
    ctx.finish();
}

#[test]
fn limits_outlive_the_daemon() {
    let mut ctx = TestCtx::new();
    ctx.boot(&format!("zone: a\n{FULL}"));
    ctx.sh("a", "tail /dev/zero");
    let kills = stat(&ctx, "a")["memory"]["oom_kills"].clone();
    let before = all(&ctx, "a");
    let limit = group_file(&ctx, "a", ("pids", "pids.max"), "pids.max");
    ctx.kill_daemon();
    assert_eq!(std::fs::read_to_string(&limit).unwrap().trim(), "77", "nobody is there, and it holds");
    ctx.start_daemon();
    assert_eq!(all(&ctx, "a"), before);
    assert_eq!(stat(&ctx, "a")["memory"]["oom_kills"], kills, "what was counted is counted");
    ctx.ok(&["set", "a", "tasks.max=33"]);
    assert_eq!(std::fs::read_to_string(&limit).unwrap().trim(), "33");
    // A daemon that died between the kernel and the disk: what is configured is what counts.
    ctx.kill_daemon();
    std::fs::write(&limit, "44").unwrap();
    ctx.start_daemon();
    assert_eq!(in_force(&ctx, "a", "tasks.max").as_deref(), Some("33"));
    ctx.sh("a", "tail /dev/zero");
    wait::until("the new daemon tells too", || ctx.ok(&["events", "a"]).contains("want of memory"));
    ctx.finish();
}
