//! Disks: caps of what is read and written, in whatever way, and what a hog does to others.

use std::{
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use zone_tests::{TestCtx, wait};

use crate::{group_file, in_force, is_v1, stat};

/// Cap of the tests, bytes a second.
const CAP: f64 = (8 << 20) as f64;

/// The device that shows a zone's volume.
fn device(ctx: &TestCtx, zone: &str) -> String {
    let uuid = ctx.info(zone)["uuid"].as_str().unwrap().to_owned();
    let disk = std::fs::read_to_string(ctx.dir.join("run/zones").join(uuid).join("disk")).unwrap();
    disk.split(" ").next().unwrap().to_owned()
}

/// What version 1 holds a zone's own device to, beside the zone's group: the root group's line, and the bound of what waits.
fn held(device: &str) -> (Option<String>, bool) {
    let file = Path::new("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' ').map(str::to_owned));
    let strict = PathBuf::from(format!("/sys/class/bdi/{device}/strict_limit"));
    (line, std::fs::read_to_string(strict).is_ok_and(|text| text.trim() == "1"))
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

/// Bytes a second that a script moves in a zone, by the last line it prints: `BYTES`.
#[track_caller]
fn rate(ctx: &TestCtx, zone: &str, script: &str) -> f64 {
    let begun = Instant::now();
    let said = ctx.sh(zone, script);
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = said.stdout.trim().parse::<f64>().unwrap_or_else(|_| panic!("{script}: {said:?}"));
    bytes / seconds
}

const WAYS: [(&str, &str); 5] = [
    ("written directly", "dd if=/dev/zero of=/x bs=1M count=24 oflag=direct 2>/dev/null; stat -c %s /x"),
    ("written and synced", "dd if=/dev/zero of=/x bs=1M count=24 conv=fsync 2>/dev/null; stat -c %s /x"),
    (
        "written, and left to the kernel",
        "timeout 4 dd if=/dev/zero of=/x bs=256k count=4000 2>/dev/null; stat -c %s /x",
    ),
    ("read directly", "dd if=/x of=/dev/null bs=1M count=24 iflag=direct 2>/dev/null; echo $((24 << 20))"),
    (
        "read ahead",
        "dd if=/x iflag=nocache count=0 2>/dev/null; dd if=/x of=/dev/null bs=64k count=384 2>/dev/null; echo $((24 << 20))",
    ),
];

#[test]
fn a_hog_is_held_at_its_cap_however_it_reads_and_writes() {
    let ctx = TestCtx::new();
    let quota = "root: { sparse: true, quota: 512M }";
    ctx.boot(&format!("zone: free\n{quota}"));
    ctx.boot(&format!("zone: hog\n{quota}\nio: {{ read: 8M, write: 8M }}"));
    for (how, script) in WAYS {
        let (free, hog) = (rate(&ctx, "free", script), rate(&ctx, "hog", script));
        println!("{how}: {:.1} MB/s at a cap of {:.1}, {:.0} without", hog / 1e6, CAP / 1e6, free / 1e6);
        assert!(free > 2.0 * CAP, "{how}: the disk is too slow to tell: {free}");
        // What is let through at once, and what may wait to be written, come on top.
        assert!(hog < 1.35 * CAP, "{how}: more than the cap: {hog}");
        assert!(hog > 0.6 * CAP, "{how}: far less than the cap: {hog}");
    }
    for key in ["io.read", "io.write"] {
        wait::until("it is an event", || {
            ctx.ok(&["events", "hog"]).contains(&format!("{key} reached, held"))
        });
        assert_eq!(in_force(&ctx, "hog", key).as_deref(), Some("8M"));
    }
    assert!(ctx.ok(&["info", "hog"]).contains("seconds at it:"));
    assert!(!ctx.ok(&["events", "free"]).contains("io."), "who has no cap reaches none");
    assert!(stat(&ctx, "hog")["io"]["written_bytes"].as_u64() > Some(40 << 20), "{}", stat(&ctx, "hog"));
    ctx.finish();
}

/// Milliseconds that each of some small synced writes takes in a zone, sorted.
fn latencies(ctx: &TestCtx, zone: &str) -> Vec<f64> {
    let one = "a=$(date +%s%N); dd if=/dev/zero of=/var/l bs=4k count=1 conv=fsync 2>/dev/null; b=$(date +%s%N); echo $((b - a))";
    let said = ctx.sh(zone, &format!("i=0; while [ $i -lt 40 ]; do {one}; i=$((i+1)); done")).ok();
    let mut all: Vec<f64> = said.lines().map(|ns| ns.parse::<f64>().unwrap() / 1e6).collect();
    all.sort_by(f64::total_cmp);
    all
}

#[test]
fn a_capped_hog_leaves_others_their_disk() {
    let ctx = TestCtx::new();
    let quota = "root: { sparse: true, quota: 512M }";
    ctx.boot(&format!("zone: neighbour\n{quota}"));
    ctx.boot(&format!("zone: hog\n{quota}"));
    let measure = |what: &str| {
        let (all, begun) = (latencies(&ctx, "neighbour"), Instant::now());
        ctx.ok(&["stat"]);
        ctx.ok(&["list"]);
        let daemon = begun.elapsed();
        let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
        println!(
            "{what}: a synced write of the neighbour's {median:.1} ms, at worst {worst:.1}; the daemon {daemon:?}"
        );
        (median, worst, daemon)
    };
    let write =
        "for i in 1 2 3 4; do (while :; do dd if=/dev/zero of=/var/h$i bs=1M count=60; done) & done; wait";
    let quiet = measure("nobody else");
    {
        let _hog = Hog::start(&ctx, "hog", write);
        measure("a hog");
    }
    ctx.ok(&["set", "hog", "io.write=8M", "io.read=8M"]);
    let _hog = Hog::start(&ctx, "hog", write);
    wait::until("it is held", || ctx.ok(&["events", "hog"]).contains("io.write reached"));
    let held = measure("a hog at its cap");
    assert!(held.0 < 5.0 * quiet.0 + 20.0, "{held:?} against {quiet:?}");
    assert!(held.1 < 1000.0 && held.2 < Duration::from_secs(2), "{held:?}");
    drop(_hog);
    ctx.finish();
}

/// Whatever waits for its turn at a disk cannot die before it has it.
#[test]
fn a_zone_at_its_cap_is_halted_at_once() {
    let ctx = TestCtx::new();
    ctx.boot("zone: hog\nroot: { sparse: true, quota: 512M }\nio: { write: 1M }");
    let queue = "for i in $(seq 40); do dd if=/dev/zero of=/var/q$i bs=1M count=4 oflag=direct & done; wait";
    let mut hog = ctx.command(&["exec", "hog", "--", "sh", "-c", queue]);
    let mut hog = hog.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait::until("they wait", || {
        let states = ctx.sh("hog", "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') D '");
        states.stdout.trim().parse::<u32>().is_ok_and(|n| n >= 20)
    });
    let device = device(&ctx, "hog");
    let begun = Instant::now();
    ctx.ok(&["halt", "hog"]);
    println!("halted after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(held(&device), (None, false));
    let _ = hog.wait();
    ctx.finish();
}

#[test]
fn caps_change_live_and_leave_nothing_on_the_host() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: a\nroot: { sparse: true, quota: 64M }\nio: { read: 5M, write-iops: 300 }");
    let device = device(&ctx, "a");
    let keys = ["io.read", "io.write", "io.read-iops", "io.write-iops"];
    let all = |ctx: &TestCtx| keys.map(|key| in_force(ctx, "a", key).unwrap_or_default());
    assert_eq!(all(&ctx), ["5M", "", "", "300"]);
    let lines = |ctx: &TestCtx| {
        let file = group_file(ctx, "a", ("blkio", "blkio.throttle.read_bps_device"), "io.max");
        std::fs::read_to_string(file).unwrap()
    };
    let before = lines(&ctx);
    assert!(before.lines().count() >= 2 && before.contains(&format!("{device} ")), "{before}");
    for (values, wanted) in [
        (&["io.write=20M", "io.read="][..], ["", "20M", "", "300"]),
        (&["io.write-iops=", "io.read-iops=70"][..], ["", "20M", "70", ""]),
        (&["io.read=3M"][..], ["3M", "20M", "70", ""]),
    ] {
        assert!(ctx.ok(&[&["set", "a"][..], values].concat()).contains("in force now"));
        assert_eq!(all(&ctx), wanted);
    }
    if is_v1("blkio") {
        assert_eq!(held(&device), (Some((20 << 20).to_string()), true));
    }
    ctx.ok(&["reboot", "a"]);
    assert_eq!(all(&ctx), ["3M", "20M", "70", ""]);
    ctx.kill_daemon();
    ctx.start_daemon();
    assert_eq!(all(&ctx), ["3M", "20M", "70", ""]);
    ctx.ok(&["set", "a", "io.write=30M"]);
    assert_eq!(all(&ctx), ["3M", "30M", "70", ""]);
    ctx.ok(&["set", "a", "io="]);
    assert_eq!((all(&ctx), lines(&ctx).trim()), ([""; 4].map(str::to_owned), ""));
    assert_eq!(held(&device), (None, false));
    ctx.finish();
}

/// The device of a zone that ends while nobody is there to see it goes back to the host as it was.
#[test]
fn what_held_a_disk_is_taken_back_by_the_next_daemon() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: a\nroot: { sparse: true, quota: 64M }\nio: { read: 5M, write: 5M }");
    let device = device(&ctx, "a");
    let init = ctx.info("a")["init_pid"].as_i64().unwrap();
    if is_v1("blkio") {
        assert_eq!(held(&device), (Some((5 << 20).to_string()), true));
    }
    ctx.kill_daemon();
    let init = rustix::process::Pid::from_raw(i32::try_from(init).unwrap()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    ctx.start_daemon();
    ctx.wait_state("a", "installed");
    assert_eq!(held(&device), (None, false));
    ctx.finish();
}

/// What cannot be held back is not promised.
#[test]
fn a_cap_of_what_others_write_to_too_is_refused_where_the_kernel_keeps_none() {
    let ctx = TestCtx::new();
    let made = ctx.create("zone: a\nio: { write: 5M }");
    if is_v1("blkio") {
        let said = made.fails(1, "configuration: io.write: this host's io controller is of cgroup version 1");
        assert!(said.contains("give it a root.quota too"), "{said}");
        ctx.boot("zone: a\nio: { read: 5M }");
        ctx.zonectl(&["set", "a", "io.write=5M", "io.read=6M"]).fails(1, "io.write");
        assert_eq!(in_force(&ctx, "a", "io.read").as_deref(), Some("5M"));
        // What a sparse zone reads is the host's own.
        let read = "dd if=$(ls -S /usr/lib/x86_64-linux-gnu/*.so* | head -1) of=/dev/null iflag=direct bs=1M count=12 2>&1 | tail -1";
        let begun = Instant::now();
        println!("{}", ctx.sh("a", read).stdout);
        assert!(begun.elapsed() > Duration::from_millis(1200), "{:?}", begun.elapsed());
    } else {
        made.ok();
    }
    ctx.finish();
}
