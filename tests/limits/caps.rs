//! Caps of disks: changed, kept, taken back, refused.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use zone_tests::{TestCtx, wait};

use crate::{
    disks::{LARGE, device},
    group_file, in_force, is_v1,
};

/// What version 1 holds a zone's own device to, beside the zone's group: the root group's line, and the bound of what waits.
fn held(device: &str) -> (Option<String>, bool) {
    let file = Path::new("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' ').map(str::to_owned));
    let strict = PathBuf::from(format!("/sys/class/bdi/{device}/strict_limit"));
    (line, std::fs::read_to_string(strict).is_ok_and(|text| text.trim() == "1"))
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
        let file = group_file(ctx, "a", ("blkio", "blkio.throttle.write_iops_device"), "io.max");
        std::fs::read_to_string(file).unwrap()
    };
    let before = lines(&ctx);
    assert!(before.contains(&format!("{device} ")), "{before}");
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
        assert!(said.contains("give it a root.quota before"), "{said}");
        let shared = "fs: [{ source: /usr/share, target: /mnt }]";
        let quota = "root: { sparse: true, quota: 64M }";
        ctx.create(&format!("zone: b\nio: {{ write: 5M }}\n{quota}\n{shared}")).fails(1, "to no other");
        let read_only = shared.replace("/mnt }", "/mnt, options: [ro] }");
        ctx.create(&format!("zone: b\nio: {{ write: 5M }}\n{quota}\n{read_only}")).ok();
        ctx.boot("zone: a\nio: { read: 5M }");
        ctx.zonectl(&["set", "a", "io.write=5M", "io.read=6M"]).fails(1, "io.write");
        assert_eq!(in_force(&ctx, "a", "io.read").as_deref(), Some("5M"));
        // What a sparse zone reads is the host's own.
        let read = format!("dd if={LARGE} of=/dev/null iflag=direct bs=1M count=12 2>&1 | tail -1");
        let begun = Instant::now();
        println!("{}", ctx.sh("a", &read).stdout);
        assert!(begun.elapsed() > Duration::from_millis(1200), "{:?}", begun.elapsed());
    } else {
        made.ok();
    }
    ctx.finish();
}
