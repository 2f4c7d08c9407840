//! The zones at work: a busy loop, a loop of forks, and a mix of system calls and sleep; their CPU time by eBPF and by
//! the kernel's own figure, read once a second. Half-way the daemon is killed and a new one started.

use super::{
    narrator::Narrator,
    zones::{ZONES, in_zone},
};
use crate::{
    daemon::{Daemon, end},
    progress,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    process::Child,
    thread,
    time::{Duration, Instant},
};

/// How long the zones work, and how often they are looked at meanwhile.
const WORK_SECONDS: u64 = 8;
const LOOKS: u64 = 6;
const KILLED_AFTER: u64 = 3;

/// The most by which the two figures may differ, as a share of the kernel's.
const TOLERANCE: f64 = 0.005;

const WORK: [(&str, &str); 3] = [
    ("a busy loop", "while :; do :; done"),
    ("a loop of forks", "while :; do /bin/true; done"),
    (
        "system calls and sleep",
        "while :; do dd if=/dev/zero of=/dev/null bs=512 count=20000; sleep 0.05; done",
    ),
];

/// CPU time of one zone since its boot, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    ebpf: u64,
    kernel: u64,
}

pub(crate) fn race(daemon: &mut Daemon, narrator: &Narrator) -> Result<()> {
    for (zone, (what, _)) in ZONES.into_iter().zip(WORK) {
        narrator.say(&format!("  {zone:<8} {what}"));
    }
    let before = read(daemon)?;
    let inits = inits(daemon)?;
    let mut workers = Workers::start(daemon)?;
    let begun = Instant::now();
    heading();
    for look in 1..=LOOKS {
        thread::sleep((begun + Duration::from_secs(look)).saturating_duration_since(Instant::now()));
        line(&format!("{look} s"), &before, &read(daemon)?);
        if look == KILLED_AFTER {
            daemon.kill_zoned()?;
            let took = daemon.start_zoned()?;
            narrator.say(&format!(
                "  zoned killed (SIGKILL); the next one answers after {}",
                progress::brief(took)
            ));
        }
    }
    workers.wait()?;
    let after = read(daemon)?;
    line("end", &before, &after);
    ensure!(
        inits == self::inits(daemon)?,
        "a zone's first process is not the one it was before zoned was killed"
    );
    narrator.say("  the zones' first processes, sessions and counters are the same as before the kill");
    for ((zone, before), after) in ZONES.into_iter().zip(&before).zip(&after) {
        judge(zone, before, after)?;
    }
    Ok(())
}

/// Compares what both figures grew by.
fn judge(zone: &str, before: &Used, after: &Used) -> Result<()> {
    let (ebpf, kernel) = (grown(before.ebpf, after.ebpf), grown(before.kernel, after.kernel));
    let differs = (ebpf - kernel) / kernel;
    println!("  {zone:<8} eBPF differs from the kernel by {:+.3} %", differs * 100.0);
    ensure!(kernel > 0.0 && differs.abs() <= TOLERANCE, "zone {zone}: eBPF {ebpf} ms, kernel {kernel} ms");
    Ok(())
}

/// Milliseconds between two readings; negative if a counter went back.
fn grown(before: u64, after: u64) -> f64 {
    (after as f64 - before as f64) / 1e6
}

fn heading() {
    let zones = ZONES.map(|zone| format!("{:>20}", zone.to_uppercase()));
    println!("  {:<6}{}", "", zones.concat());
    println!("  {:<6}{}", "", format!("{:>11}{:>9}", "eBPF", "kernel").repeat(ZONES.len()));
}

fn line(when: &str, before: &[Used], now: &[Used]) {
    let cells = before.iter().zip(now).map(|(before, now)| {
        format!("{:>11.0}{:>9.0}", grown(before.ebpf, now.ebpf), grown(before.kernel, now.kernel))
    });
    println!("  {when:<6}{}", cells.collect::<String>());
}

/// The figures of the three zones, in their order.
fn read(daemon: &Daemon) -> Result<Vec<Used>> {
    let answer = daemon.json(&["stat"])?;
    let stats = answer["stats"].as_array().context("zonectl stat --json has no stats")?;
    let used = |zone: &str| {
        let cpu = &stats.iter().find(|stat| stat["zone"] == zone)?["cpu"];
        Some(Used { ebpf: cpu["usage_ns"].as_u64()?, kernel: cpu["cgroup_usage_ns"].as_u64()? })
    };
    ZONES
        .iter()
        .map(|zone| used(zone).with_context(|| format!("zone {zone} lacks a figure in {answer}")))
        .collect()
}

/// The zones' first processes, in the host's numbering.
fn inits(daemon: &Daemon) -> Result<Vec<u64>> {
    let init = |zone: &str| {
        let info = daemon.json(&["info", zone])?;
        info["init_pid"].as_u64().with_context(|| format!("zone {zone} has no first process"))
    };
    ZONES.into_iter().map(init).collect()
}

/// The sessions in which the zones work; they are ended when this is dropped.
struct Workers(Vec<(&'static str, Child)>);

impl Workers {
    fn start(daemon: &Daemon) -> Result<Self> {
        let mut workers = Self(Vec::new());
        for (zone, (_, work)) in ZONES.into_iter().zip(WORK) {
            let script = format!("exec timeout {WORK_SECONDS} /bin/sh -c '{work}' 2>/dev/null");
            workers.0.push((zone, in_zone(daemon, zone, &script).spawn().context("cannot run zonectl")?));
        }
        Ok(workers)
    }

    /// Waits for all; `timeout` says 124 when it has ended its command, which proves that the session lived on.
    fn wait(&mut self) -> Result<()> {
        for (zone, worker) in &mut self.0 {
            let status = worker.wait()?;
            ensure!(status.code() == Some(124), "the session in zone {zone} ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (_, worker) in &mut self.0 {
            end(worker);
        }
    }
}
