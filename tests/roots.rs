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
    assert!(shared.as_secs() < 5, "a shared layer took {shared:?}");

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
    assert!(began.elapsed().as_secs() < 15, "it was not asked the way it understands");
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
