//! `cargo xtask demo`: the project in one run, from measurements made while it runs.
//!
//! It starts a zoned of its own and then does, by `zonectl`, what a person would do: boots three zones, looks out of
//! each of them, lets them work while the daemon is killed, has two compete for a CPU, reaches a web server in one through
//! a port of the host, has one lie about its address, and removes everything. It fails if a zone sees, gets or sends what
//! it must not, if the figures of eBPF and of the kernel differ, or if anything is left.

mod cpu;
mod narrator;
mod network;
mod shares;
mod sight;
mod work;
mod zones;

use crate::{
    build::{self, Profile},
    daemon::Daemon,
    progress,
    setup::{self, Purpose},
};
use anyhow::{Result, ensure};
use narrator::Narrator;
use std::time::Instant;

pub(crate) fn run() -> Result<()> {
    ensure!(setup::is_root(), "zones take root: run `cargo xtask demo` as root");
    setup::ensure(&[Purpose::Build, Purpose::Demo])?;
    let binaries = build::with_guard(Profile::Debug)?;
    let begun = Instant::now();
    let narrator = Narrator::default();
    narrator.chapter("a daemon of its own");
    let mut daemon = Daemon::start(&binaries, "demo")?;
    narrator.say(&format!(
        "zoned runs in a network that plays the host, with all it keeps in {}",
        daemon.folder().display()
    ));
    narrator.chapter("three zones");
    zones::boot(&daemon, &narrator)?;
    narrator.chapter("what each of them sees");
    sight::compare(&daemon)?;
    narrator.chapter("CPU time while they work, by eBPF and by the kernel's own figure, in ms");
    cpu::race(&mut daemon, &narrator)?;
    narrator.chapter("one CPU for two zones, 3:1; CPU time in ms");
    shares::compete(&daemon, &narrator)?;
    narrator.chapter("a web server in a zone, behind a port of the host");
    network::serve(&daemon, &narrator)?;
    narrator.chapter("a zone that lies about its address");
    network::spoof(&daemon, &narrator)?;
    narrator.chapter("everything removed");
    zones::remove(&daemon, &narrator)?;
    drop(daemon);
    println!("\ndone in {}; nothing is left", progress::seconds(begun.elapsed()));
    Ok(())
}
