//! Work in zones, and the CPU time it takes by eBPF and by the kernel's own figure.

use super::zones::{ZONES, in_zone};
use crate::daemon::{Daemon, end};
use anyhow::{Context as _, Result, ensure};
use std::process::Child;

/// CPU time of one zone since its boot, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) ebpf: u64,
    pub(super) kernel: u64,
}

/// The figures of the three zones, in their order.
pub(super) fn read(daemon: &Daemon) -> Result<Vec<Used>> {
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

/// Milliseconds between two readings; negative if a counter went back.
pub(super) fn grown(before: u64, after: u64) -> f64 {
    (after as f64 - before as f64) / 1e6
}

/// Sessions in which zones work; they are ended when this is dropped.
pub(super) struct Workers(Vec<(&'static str, Child)>);

impl Workers {
    /// Starts a shell script in each of these zones, which is ended after so many seconds.
    pub(super) fn start(
        daemon: &Daemon,
        seconds: u64,
        work: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Result<Self> {
        let mut workers = Self(Vec::new());
        for (zone, work) in work {
            let script = format!("exec timeout {seconds} /bin/sh -c '{work}' 2>/dev/null");
            workers.0.push((zone, in_zone(daemon, zone, &script).spawn().context("cannot run zonectl")?));
        }
        Ok(workers)
    }

    /// Waits for all; `timeout` says 124 when it has ended its command, which proves that the session lived on.
    pub(super) fn wait(&mut self) -> Result<()> {
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
