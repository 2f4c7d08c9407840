//! What a zone may write: bytes and inodes, on a host whose kernel need not know quotas.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use zone_tests::{TestCtx, wait};

/// Loop devices that show something of the test's.
fn loops(ctx: &TestCtx) -> usize {
    let block = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let shown = block.filter_map(|e| std::fs::read_to_string(e.path().join("loop/backing_file")).ok());
    shown.filter(|file| std::path::Path::new(file.trim_end()).starts_with(&ctx.dir)).count()
}

#[test]
fn a_filler_of_the_disk_and_one_of_inodes_are_stopped_and_hurt_nobody() {
    let ctx = TestCtx::new();
    ctx.boot("zone: full\nroot: { sparse: true, quota: 48M }");
    ctx.boot("zone: many\nroot: { sparse: true, quota: 48M, inodes: 1000 }");
    ctx.boot("zone: neighbour");
    let filled = ctx.sh("full", "dd if=/dev/zero of=/var/big bs=1M count=100 2>&1; stat -c %s /var/big");
    assert!(filled.stdout.contains("No space left on device"), "{filled:?}");
    let written: u64 = filled.stdout.lines().last().unwrap().trim().parse().unwrap();
    assert!((20 << 20..48 << 20).contains(&written), "{written}");
    let made = ctx
        .sh("many", "i=0; while (: > /var/f$i) 2>/dev/null; do i=$((i+1)); done; echo $i; (: > /var/more)");
    let count: u64 = made.stdout.lines().next().unwrap().trim().parse().unwrap();
    assert!((500..1000).contains(&count) && made.stderr.contains("No space left"), "{made:?}");
    // Space that is given back can be used again.
    ctx.sh("full", "rm /var/big; sync; dd if=/dev/zero of=/var/again bs=1M count=15 2>&1").ok();

    let begun = Instant::now();
    ctx.sh("neighbour", "dd if=/dev/zero of=/var/x bs=1M count=60 2>&1 && rm /var/x").ok();
    ctx.ok(&["list"]);
    assert!(begun.elapsed() < wait::limit(10), "{:?}", begun.elapsed());
    ctx.finish();
}

/// A zone's disk by `zonectl stat`.
#[track_caller]
fn disk(ctx: &TestCtx, zone: &str) -> Value {
    ctx.json(&["stat", zone])["stats"][0]["disk"].clone()
}

/// Events that tell of a zone's quotas of bytes and of inodes.
fn told(ctx: &TestCtx, zone: &str) -> [usize; 2] {
    let events = ctx.ok(&["events", zone]);
    ["quota", "inodes"].map(|key| events.matches(&format!("root.{key} reached, no room left for ")).count())
}

#[test]
fn how_full_a_disk_is_can_be_seen_and_a_full_one_is_told_of_once() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: a\nroot: { sparse: true, quota: 48M, inodes: 1000 }");
    ctx.boot("zone: free");
    let empty = disk(&ctx, "a");
    assert_eq!(empty["limit_bytes"], 48 << 20);
    assert!(empty["used_bytes"].as_u64() < Some(12 << 20), "{empty}");
    assert!((1000..1100).contains(&empty["limit_inodes"].as_u64().unwrap()), "{empty}");
    assert!(disk(&ctx, "free").is_null(), "nobody counts what it writes");

    ctx.sh("a", "dd if=/dev/urandom of=/var/x bs=1M count=8 && sync -f /var/x").ok();
    let grown = disk(&ctx, "a")["used_bytes"].as_u64().unwrap() - empty["used_bytes"].as_u64().unwrap();
    assert!((8 << 20..9 << 20).contains(&grown), "{grown}");
    // The same as the zone itself sees.
    let df = |field: &str| -> u64 {
        ctx.sh("a", &format!("df -B1 --output={field} / | tail -1")).ok().trim().parse().unwrap()
    };
    let seen = disk(&ctx, "a");
    assert_eq!((48 << 20) - seen["used_bytes"].as_u64().unwrap(), df("avail"));
    assert_eq!(seen["used_inodes"].as_u64(), Some(df("iused")));
    assert_eq!(told(&ctx, "a"), [0, 0], "there is room");

    ctx.sh("a", "dd if=/dev/zero of=/var/big bs=1M");
    wait::until("a full disk is an event", || told(&ctx, "a") == [1, 0]);
    let info = ctx.ok(&["info", "a"]);
    assert!(info.contains("root.quota    48M  4") && info.contains("root.inodes  10"), "{info}");
    ctx.sh("a", "i=0; rm /var/big; while (: > /var/f$i) 2>/dev/null; do i=$((i+1)); done");
    wait::until("no more inodes is another", || told(&ctx, "a") == [1, 1]);
    assert_eq!(disk(&ctx, "a")["used_inodes"], disk(&ctx, "a")["limit_inodes"]);

    // The next daemon sees it too; it tells by itself what it finds.
    ctx.kill_daemon();
    ctx.start_daemon();
    wait::until("a new daemon looks", || !disk(&ctx, "a").is_null());
    wait::until("and tells", || told(&ctx, "a") == [0, 1]);
    ctx.sh("a", "rm /var/f*").ok();
    assert!(disk(&ctx, "a")["used_inodes"].as_u64() < Some(100));
    assert_eq!((told(&ctx, "a"), told(&ctx, "free")), ([0, 1], [0, 0]), "once a minute");
    assert_eq!(loops(&ctx), 1);
    ctx.finish();
}

/// A mount of the daemon's keeps nothing from ending, and a zone keeps none of the daemon's answers back.
#[test]
fn figures_wait_for_no_busy_disk() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\nroot: { sparse: true, quota: 256M }");
    let churn =
        "while :; do dd if=/dev/zero of=/var/x$1 bs=1M count=20 2>/dev/null; sync; rm -rf /var/x$1; done";
    let script = format!("for i in 1 2 3 4; do sh -c '{churn}' sh $i & done; wait");
    let mut busy = ctx.command(&["exec", "a", "--", "sh", "-c", &script]);
    let mut busy = busy.stdin(Stdio::null()).spawn().unwrap();
    let mut moved = std::collections::BTreeSet::new();
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    while begun.elapsed() < wait::limit(4) {
        let asked = Instant::now();
        moved.insert(disk(&ctx, "a")["used_bytes"].as_u64().unwrap());
        longest = longest.max(asked.elapsed());
    }
    assert!(moved.len() > 3, "it writes: {moved:?}");
    println!("the longest answer took {longest:?}");
    assert!(longest < wait::limit(1), "{longest:?}");
    ctx.ok(&["halt", "a"]);
    let _ = busy.wait();
    assert_eq!((loops(&ctx), ctx.ok(&["audit"]).trim()), (0, "nothing is left over"));
    ctx.finish();
}

#[test]
fn what_was_written_stays_and_nothing_else_does() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: a\nroot: { sparse: true, quota: 32M }");
    ctx.sh("a", "echo kept > /root/kept; chown 1000:1000 /root/kept").ok();
    assert_eq!(loops(&ctx), 1);
    for _ in 0..3 {
        ctx.ok(&["reboot", "a"]);
    }
    ctx.kill_daemon();
    ctx.start_daemon();
    assert_eq!(ctx.sh("a", "cat /root/kept; stat -c %u /root/kept").ok(), "kept\n1000\n");
    ctx.ok(&["halt", "a"]);
    wait::until("the loop device is free", || loops(&ctx) == 0);
    assert_eq!(ctx.ok(&["audit"]).trim(), "nothing is left over");

    // More, while it is at rest and while it runs; from the next boot on.
    let size = |ctx: &TestCtx| -> u64 {
        ctx.sh("a", "df -B1M --output=size / | tail -1").ok().trim().parse().unwrap()
    };
    ctx.ok(&["boot", "a"]);
    let before = size(&ctx);
    ctx.ok(&["set", "a", "root.quota=96M"]);
    assert_eq!(size(&ctx), before);
    ctx.ok(&["reboot", "a"]);
    assert!(before < 32 && size(&ctx) > 60, "{before} {}", size(&ctx));
    assert_eq!(ctx.sh("a", "cat /root/kept").ok(), "kept\n");
    ctx.zonectl(&["set", "a", "root.quota=64M"]).fails(1, "a quota can grow");
    ctx.zonectl(&["set", "a", "root.quota="]).fails(1, "its root cannot be changed");
    ctx.zonectl(&["set", "a", "root.inodes=5000"]).fails(1, "its root cannot be changed");
    ctx.finish();
}

#[test]
fn impossible_quotas_are_refused() {
    let ctx = TestCtx::new();
    for (root, says) in [
        ("quota: 1M", "root.quota: 1M is too little"),
        ("quota: lots", "is no size"),
        ("quota: 16777217", "no multiple of 4096"),
        ("inodes: 1000", "nothing counts them without a quota"),
        ("quota: 32M, inodes: 9999999", "one for each 4096 bytes"),
        ("quota: 32M, inodes: 1", "is not between"),
    ] {
        ctx.create(&format!("zone: a\nroot: {{ sparse: true, {root} }}")).fails(1, says);
    }
    // More than any ext4 can be: said when it is made, and nothing is left.
    ctx.create("zone: big\nroot: { sparse: true, quota: 8000000T }").ok();
    let failed = ctx.zonectl(&["install", "big"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("volume"), "{failed:?}");
    ctx.finish();
}
