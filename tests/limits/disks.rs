//! Disks: what is read and written is held back, in whatever way, and what a hog does to others.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use zone_tests::{TestCtx, wait};

use crate::{in_force, stat};

/// Cap of the tests, bytes a second.
const CAP: f64 = (4 << 20) as f64;

/// A large file that a sparse zone has from the host, as a shell has it.
pub(crate) const LARGE: &str = "$(ls -S /usr/lib/x86_64-linux-gnu/*.so* | head -1)";

/// Held by a test that measures the disk.
fn alone() -> MutexGuard<'static, ()> {
    static DISK: Mutex<()> = Mutex::new(());
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device that shows a zone's volume.
pub(crate) fn device(ctx: &TestCtx, zone: &str) -> String {
    let uuid = ctx.info(zone)["uuid"].as_str().unwrap().to_owned();
    let disk = std::fs::read_to_string(ctx.dir.join("run/zones").join(uuid).join("disk")).unwrap();
    disk.split(" ").next().unwrap().to_owned()
}

/// A command that goes on in a zone until it is dropped.
struct Hog<'a> {
    ctx: &'a TestCtx,
    zone: &'a str,
    client: Child,
}

impl<'a> Hog<'a> {
    fn start(ctx: &'a TestCtx, zone: &'a str, script: &str) -> Self {
        let mut command = ctx.command(&["exec", zone, "--", "sh", "-c", script]);
        let client = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { ctx, zone, client }
    }
}

impl Drop for Hog<'_> {
    fn drop(&mut self) {
        let _ = self.ctx.sh(self.zone, "kill -9 -1");
        let _ = self.client.wait();
    }
}

/// A way to move bytes: its name, a command, and the bytes it moved.
const WAYS: [(&str, &str, &str); 5] = [
    ("written directly", "dd if=/dev/zero of=/x bs=1M count=16 oflag=direct", WRITTEN),
    ("written and synced", "dd if=/dev/zero of=/x bs=1M count=16 conv=fsync", WRITTEN),
    ("written, and left to the kernel", "timeout 4 dd if=/dev/zero of=/x bs=256k count=1000", WRITTEN),
    ("read directly", "dd if=/x of=/dev/null bs=1M count=16 iflag=direct", "$((16 << 20))"),
    ("read ahead", "dd if=/x of=/dev/null bs=64k count=256", "$((16 << 20))"),
];

const WRITTEN: &str = "$(stat -c %s /x)";

/// Bytes a second that a zone moves in a way, and of those that it writes what reaches the disk meanwhile. Nothing that it
/// reads is in a cache before.
#[track_caller]
fn rate(ctx: &TestCtx, zone: &str, (_, command, bytes): (&str, &str, &str)) -> (f64, f64) {
    let forget =
        |file: &str| format!("dd of={file} oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null");
    let below = format!("/sys/dev/block/{}/loop/backing_file", device(ctx, zone));
    let below = std::fs::read_to_string(below).unwrap();
    if ctx.sh(zone, &format!("test ! -e /x || {}", forget("/x"))).code == 0 {
        assert!(Command::new("sh").args(["-c", &forget(below.trim())]).status().unwrap().success());
    }
    let (before, now) = (written(ctx, zone), "$(date +%s%N)");
    let script = format!("a={now}; {command} 2>/dev/null; b={now}; echo {bytes} $((b - a))");
    let said = ctx.sh(zone, &script).ok();
    let (moved, ns) = said.trim().split_once(' ').unwrap();
    let a_second = |bytes: f64| bytes * 1e9 / ns.parse::<f64>().unwrap();
    let reached = if bytes == WRITTEN { written(ctx, zone) - before } else { f64::INFINITY };
    (a_second(moved.parse().unwrap()), a_second(reached))
}

#[test]
fn a_hog_is_held_at_its_cap_however_it_reads_and_writes() {
    let _alone = alone();
    let ctx = TestCtx::new();
    let quota = "root: { sparse: true, quota: 512M }";
    ctx.boot(&format!("zone: free\n{quota}"));
    ctx.boot(&format!("zone: hog\n{quota}\nio: {{ read: 4M, write: 4M }}"));
    for way in WAYS {
        let ((free, _), (moved, reached)) = (rate(&ctx, "free", way), rate(&ctx, "hog", way));
        let (how, hog) = (way.0, moved.min(reached));
        println!("{how}: {:.1} MB/s at a cap of {:.1}, {:.0} without", hog / 1e6, CAP / 1e6, free / 1e6);
        assert!(free > 2.0 * CAP, "{how}: the disk is too slow to tell: {free}");
        // What is let through at once comes on top.
        assert!(hog < 1.35 * CAP, "{how}: more than the cap: {hog}");
        assert!(moved > 0.6 * CAP, "{how}: far less than the cap: {moved}");
    }
    for key in ["io.read", "io.write"] {
        wait::until("it is an event", || {
            ctx.ok(&["events", "hog"]).contains(&format!("{key} reached, held"))
        });
        assert_eq!(in_force(&ctx, "hog", key).as_deref(), Some("4M"));
    }
    assert!(ctx.ok(&["info", "hog"]).contains("seconds at it:"));
    assert!(!ctx.ok(&["events", "free"]).contains("io."), "who has no cap reaches none");
    assert!(stat(&ctx, "hog")["io"]["written_bytes"].as_u64() > Some(32 << 20), "{}", stat(&ctx, "hog"));
    ctx.finish();
}

/// Milliseconds that each of some small synced writes takes in a zone.
fn synced_writes(ctx: &TestCtx, zone: &str) -> Vec<f64> {
    let one = "a=$(date +%s%N); dd if=/dev/zero of=/var/l bs=4k count=1 conv=fsync 2>/dev/null; b=$(date +%s%N); echo $((b - a))";
    let said = ctx.sh(zone, &format!("i=0; while [ $i -lt 20 ]; do {one}; i=$((i+1)); done")).ok();
    said.lines().map(|ns| ns.parse::<f64>().unwrap() / 1e6).collect()
}

/// Milliseconds that each of some requests to the daemon takes: half of them only ask, half change what is kept on disk.
fn requests(ctx: &TestCtx, zone: &str) -> Vec<f64> {
    let ask = |i: u32| {
        let (begun, order) = (Instant::now(), format!("order={i}"));
        ctx.ok(&["stat"]);
        ctx.ok(&["set", zone, &order]);
        begun.elapsed().as_secs_f64() * 1e3 / 2.0
    };
    (0..8).map(ask).collect()
}

/// What others see of a disk, in milliseconds: the middle of what they see, and the worst.
#[derive(Clone, Copy, Debug)]
struct Latency {
    middle: f64,
    worst: f64,
}

impl Latency {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self { middle: all[all.len() / 2], worst: all[all.len() - 1] }
    }

    /// Whether it is as good as another, on a machine that does other work beside.
    fn is_like(self, other: Self) -> bool {
        self.middle < 2.0 * other.middle + 5.0 && self.worst < 2.0 * other.worst + 500.0
    }
}

/// Bytes that have reached a zone's device (Documentation/block/stat.rst). The kernel's account has what it has queued.
fn written(ctx: &TestCtx, zone: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{}/stat", device(ctx, zone))).unwrap();
    stat.split_whitespace().nth(6).unwrap().parse::<f64>().unwrap() * 512.0
}

/// What one request to a disk moves at most where pages are huge, bytes: a hog at its cap moves as much at once, and stands
/// still until it has earned it.
const PIECE: f64 = (8 << 20) as f64;

/// Seconds for which the hog is watched at its cap.
const HELD: u64 = 8;

/// Latency of a neighbour and of the daemon for some seconds, and bytes a second that the hog writes meanwhile.
fn beside_the_hog(ctx: &TestCtx, what: &str, seconds: u64) -> ([Latency; 2], f64) {
    let (before, begun) = (written(ctx, "hog"), Instant::now());
    let mut all = [Vec::new(), Vec::new()];
    while begun.elapsed() < Duration::from_secs(seconds) {
        all[0].extend(synced_writes(ctx, "neighbour"));
        all[1].extend(requests(ctx, "neighbour"));
    }
    let seen = all.map(Latency::of);
    let rate = (written(ctx, "hog") - before) / begun.elapsed().as_secs_f64();
    let [Latency { middle, worst }, daemon] = seen;
    println!(
        "{what}, {:.1} MB/s: a neighbour's synced write {middle:.1} ms, at worst {worst:.1}; the daemon {:.1} ms, at worst {:.1}",
        rate / 1e6,
        daemon.middle,
        daemon.worst
    );
    (seen, rate)
}

#[test]
fn a_hog_at_its_cap_leaves_others_their_disk() {
    let _alone = alone();
    let ctx = TestCtx::new();
    let quota = "root: { sparse: true, quota: 512M }";
    ctx.boot(&format!("zone: neighbour\n{quota}"));
    ctx.boot(&format!("zone: hog\n{quota}"));
    let all_it_can = format!(
        "for i in 1 2 3; do (while :; do dd if=/dev/zero of=/var/h$i bs=1M count=100 2>/dev/null; done) & done
         while :; do dd if={LARGE} of=/dev/null bs=1M iflag=direct 2>/dev/null; done"
    );
    let (before, _) = beside_the_hog(&ctx, "nobody else", 3);
    let hog = Hog::start(&ctx, "hog", &all_it_can);
    wait::until("the hog writes", || written(&ctx, "hog") > 10.0 * CAP);
    let (_, free) = beside_the_hog(&ctx, "a hog", 3);
    assert!(free > 2.0 * CAP, "it is no hog: {free}");
    ctx.ok(&["set", "hog", "io.write=4M", "io.read=4M"]);
    for key in ["io.write", "io.read"] {
        let reached = format!("{key} reached, held");
        wait::until("it is held, and that is an event", || ctx.ok(&["events", "hog"]).contains(&reached));
    }
    let (held, rate) = beside_the_hog(&ctx, "the hog at its cap", HELD);
    drop(hog);
    // Version 1 holds back what the zone writes itself, and what the kernel writes for it later, each for itself.
    let ways = if Path::new("/sys/fs/cgroup/blkio").exists() { 2.0 } else { 1.0 };
    let most = ways * 1.1 * CAP + 2.0 * PIECE / HELD as f64;
    assert!(rate < most && rate > 0.25 * CAP, "held to {rate} at a cap of {CAP}");
    // Against either: the machine may do other work at one of them.
    let (after, _) = beside_the_hog(&ctx, "nobody else again", 3);
    for (i, whose) in ["neighbour", "daemon"].iter().enumerate() {
        let unharmed = held[i].is_like(before[i]) || held[i].is_like(after[i]);
        assert!(unharmed, "the {whose}'s: {:?}, without a hog {:?} and {:?}", held[i], before[i], after[i]);
    }
    ctx.finish();
}
