//! Zones of a real distribution: Debian under its own init, and shared layers.

use std::{fs, time::Instant};

use zone_tests::{TestCtx, wait};

const DEBIAN: &str = "root: { image: debian:bookworm }";

#[test]
fn debian_runs_under_systemd_and_stops_cleanly() {
    let ctx = TestCtx::new();
    ctx.create(&format!("zone: full\nbrand: debian\n{DEBIAN}")).ok();
    ctx.create(&format!("zone: plain\nbrand: debian\n{DEBIAN}\nprocess: {{ init: none }}")).ok();
    ctx.ok(&["install", "full"]);
    let began = Instant::now();
    ctx.ok(&["install", "plain"]);
    let shared = began.elapsed();
    let layers = fs::read_dir(ctx.dir.join("lib/layers")).unwrap().flatten();
    let layers = layers.filter(|l| l.file_name().len() == 64).count();
    assert_eq!(layers, 1, "the image was unpacked twice");
    assert!(shared < wait::limit(5), "a shared layer took {shared:?}");

    let began = Instant::now();
    ctx.ok(&["boot", "full"]);
    ctx.ok(&["boot", "plain"]);
    let state =
        || ctx.zonectl(&["exec", "full", "--", "systemctl", "is-system-running"]).stdout.trim().to_owned();
    wait::until("systemd has come up", || matches!(state().as_str(), "running" | "degraded"));
    println!("systemd: {} after {:?}", state(), began.elapsed());
    let failed =
        ctx.zonectl(&["exec", "full", "--", "systemctl", "--failed", "--plain", "--no-legend"]).stdout;
    assert_eq!((state().as_str(), failed.as_str()), ("running", ""), "failed units");
    assert_eq!(ctx.sh("full", "cat /proc/1/comm").ok().trim(), "systemd");
    assert_eq!(ctx.sh("full", "hostname").ok().trim(), "full");
    assert!(ctx.sh("full", ". /etc/os-release; echo $ID $VERSION_ID").ok().starts_with("debian 12"));
    // Its own init puts services into groups of their own; exec still works beside them.
    ctx.sh("full", "systemctl start systemd-tmpfiles-clean.service && systemctl is-active systemd-journald")
        .ok();
    // The two share a layer and nothing that is written.
    ctx.sh("plain", "echo mine > /etc/motd; rm /etc/debian_version").ok();
    ctx.sh("full", "test -e /etc/debian_version && ! grep -q mine /etc/motd").ok();

    let began = Instant::now();
    ctx.ok(&["shutdown", "full"]);
    println!("shutdown in {:?}", began.elapsed());
    assert!(began.elapsed() < zone_tests::wait::limit(15), "it was not asked the way it understands");
    let info = ctx.info("full");
    assert_eq!(info["state"], "installed");
    assert_eq!(info["last_exit"]["how"], "powered-off", "{info}");
    // What it wrote is there at the next boot.
    ctx.ok(&["halt", "plain"]);
    ctx.ok(&["boot", "plain"]);
    assert_eq!(ctx.sh("plain", "cat /etc/motd").ok(), "mine\n");
    ctx.finish();
}

#[test]
fn systemd_reboots_and_powers_off_from_inside() {
    let ctx = TestCtx::new();
    ctx.boot(&format!("zone: full\nbrand: debian\n{DEBIAN}"));
    let up = || ctx.zonectl(&["exec", "full", "--", "systemctl", "is-system-running"]).stdout;
    wait::until("systemd has come up", || matches!(up().trim(), "running" | "degraded"));
    let first = ctx.info("full")["init_pid"].clone();
    ctx.zonectl(&["exec", "full", "--", "systemctl", "reboot"]);
    wait::until("the zone has been booted again", || ctx.info("full")["boot"] == 2);
    ctx.wait_state("full", "running");
    assert_ne!(ctx.info("full")["init_pid"], first);
    wait::until("systemd has come up again", || matches!(up().trim(), "running" | "degraded"));
    ctx.zonectl(&["exec", "full", "--", "systemctl", "poweroff"]);
    ctx.wait_state("full", "installed");
    assert_eq!(ctx.info("full")["last_exit"]["how"], "powered-off");
    ctx.finish();
}

#[test]
fn systemd_says_itself_when_the_zone_is_online() {
    let mut ctx = TestCtx::new();
    ctx.create(&format!("zone: full\nbrand: debian\n{DEBIAN}")).ok();
    ctx.ok(&["install", "full"]);
    let began = Instant::now();
    let said = ctx.ok(&["boot", "--wait", "full"]);
    println!("{} after {:?}", said.trim(), began.elapsed());
    assert!(said.starts_with("zone full: running (online "), "{said}");
    // It is up, and not merely there.
    assert_eq!(ctx.ok(&["exec", "full", "--", "systemctl", "is-system-running"]), "running\n");
    // The word is its alone: what it starts, and what comes in, has no such socket.
    let told = "grep -lz '^NOTIFY_SOCKET=/run/host/' /proc/[0-9]*/environ 2>/dev/null";
    assert_eq!(ctx.sh("full", told).stdout, "/proc/1/environ\n");
    // A boot that does not come to its end is waited for, by the next daemon too.
    let unit = "[Unit]\\nDefaultDependencies=no\\nBefore=sysinit.target\\n[Service]\\nType=oneshot\\n\
                ExecStart=/bin/sh -c \"until [ -e /go ]; do sleep 0.05; done\"\\n[Install]\\nWantedBy=sysinit.target\\n";
    ctx.sh("full", &format!("printf '{unit}' > /etc/systemd/system/held.service && systemctl enable held"))
        .ok();
    ctx.zonectl(&["reboot", "--wait", "--timeout", "3", "full"])
        .refuses(1, "zone full: running, but not online after 3 s: it has not said READY=1 by sd_notify(3)");
    ctx.kill_daemon();
    ctx.start_daemon();
    ctx.zonectl(&["boot", "--wait", "--timeout", "1", "full"]).refuses(1, "not online after 1 s");
    ctx.sh("full", "touch /go").ok();
    ctx.ok(&["boot", "--wait", "full"]);
    let online = ctx.info("full")["online_ms"].clone();
    ctx.kill_daemon();
    ctx.start_daemon();
    assert_eq!(ctx.info("full")["online_ms"], online);
    // Told that nothing is to be waited for, nothing is.
    ctx.ok(&["set", "full", "online.notify=false"]);
    let said = ctx.ok(&["reboot", "--wait", "full"]);
    assert!(said.contains("it is online as soon as it runs"), "{said}");
    ctx.sh("full", "[ ! -e /run/host/notify ]").ok();
    ctx.finish();
}
