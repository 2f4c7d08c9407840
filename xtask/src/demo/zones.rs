//! The demo's three zones, and their way in and out.

use super::narrator::Narrator;
use crate::{
    daemon::{Daemon, limited},
    progress,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A sparse zone, a Debian under the built-in init, and a Debian under systemd. The first two have a network, port 8080 of
/// the host leads to the first one's port 80, and only that one may send to the outside.
pub(crate) const ZONES: [&str; 3] = ["sparse", "debian", "systemd"];

const CREATE: [&[&str]; 3] = [
    &["create", "sparse", "--set", "net=[{allow: [{to: outside}], forward: [{listen: 8080, to: 80}]}]"],
    &["create", "debian", "--image", "debian:bookworm", "--set", "process.init=none", "--set", "net=[{}]"],
    &["create", "systemd", "--image", "debian:bookworm"],
];

const SCRIPT_LIMIT: u32 = 60;
const SYSTEMD_LIMIT: Duration = Duration::from_secs(60);

/// Creates, installs and boots all three.
pub(crate) fn boot(daemon: &Daemon, narrator: &Narrator) -> Result<()> {
    for (zone, create) in ZONES.into_iter().zip(CREATE) {
        narrator.types(daemon, create)?;
        narrator.types(daemon, &["install", zone])?;
        narrator.types(daemon, &["boot", zone])?;
    }
    let begun = Instant::now();
    let state = systemd_settled(daemon)?;
    narrator.say(&format!("systemd in zone systemd is {state} after {}", progress::brief(begun.elapsed())));
    let list = narrator.types(daemon, &["list"])?;
    narrator.say(list.trim_end());
    Ok(())
}

/// Waits until systemd has started all it starts; the state it then says it is in.
fn systemd_settled(daemon: &Daemon) -> Result<String> {
    let deadline = Instant::now() + SYSTEMD_LIMIT;
    loop {
        // It exits with 1 for any state but `running`, and is not there yet in its first moments.
        let output = in_zone(daemon, "systemd", "systemctl is-system-running")
            .output()
            .context("cannot run zonectl")?;
        let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if state == "running" || state == "degraded" {
            return Ok(state);
        }
        ensure!(Instant::now() < deadline, "systemd is {state:?} after {SYSTEMD_LIMIT:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Takes all three down and away, and checks that nothing of them is left.
pub(crate) fn remove(daemon: &Daemon, narrator: &Narrator) -> Result<()> {
    narrator.types(daemon, &["shutdown", "systemd"])?;
    narrator.types(daemon, &["halt", "sparse", "debian"])?;
    for zone in ZONES {
        narrator.types(daemon, &["uninstall", "--force", zone])?;
        narrator.types(daemon, &["delete", "--force", zone])?;
    }
    let audit = daemon.json(&["audit"])?;
    let left = audit["leftovers"].as_array().context("zonectl audit --json has no leftovers")?;
    ensure!(left.is_empty(), "the audit found {audit}");
    narrator.say("$ zonectl audit    # nothing belongs to no zone");
    let mounts = mounts_below(daemon.folder())?;
    ensure!(mounts.is_empty(), "still mounted: {mounts:?}");
    Ok(())
}

/// Mounts of zones: below the daemon's folder, its own run folder and file system of pins aside.
fn mounts_below(folder: &Path) -> Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let own = [folder.join("run"), folder.join("run/bpf")];
    Ok(targets
        .filter(|t| Path::new(t).starts_with(folder) && own.iter().all(|own| Path::new(t) != own))
        .map(str::to_owned)
        .collect())
}

/// A script in a zone, with no terminal and no input, and at most a minute.
pub(crate) fn in_zone(daemon: &Daemon, zone: &str, script: &str) -> Command {
    limited(&daemon.zonectl(["exec", "-T", "-n", zone, "--", "/bin/sh", "-c", script]), SCRIPT_LIMIT)
}
