//! The zones at work: a busy loop, a loop of forks, and a mix of system calls and sleep; their CPU time by eBPF and by
//! the kernel's own figure, read once a second. Half-way the daemon is killed and a new one started.

use super::{
    narrator::Narrator,
    work::{Used, Workers, grown, read},
    zones::ZONES,
};
use crate::{daemon::Daemon, progress};
use anyhow::{Context as _, Result, ensure};
use std::{
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

pub(crate) fn race(daemon: &mut Daemon, narrator: &Narrator) -> Result<()> {
    for (zone, (what, _)) in ZONES.into_iter().zip(WORK) {
        narrator.say(&format!("  {zone:<8} {what}"));
    }
    let before = read(daemon)?;
    let inits = inits(daemon)?;
    let work = ZONES.into_iter().zip(WORK.map(|(_, script)| script));
    let mut workers = Workers::start(daemon, WORK_SECONDS, work)?;
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

/// The zones' first processes, in the host's numbering.
fn inits(daemon: &Daemon) -> Result<Vec<u64>> {
    let init = |zone: &str| {
        let info = daemon.json(&["info", zone])?;
        info["init_pid"].as_u64().with_context(|| format!("zone {zone} has no first process"))
    };
    ZONES.into_iter().map(init).collect()
}
