//! What a zone may write: bytes and inodes, on a host whose kernel need not know quotas.

use std::time::Instant;

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
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
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
