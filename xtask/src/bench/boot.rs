//! `cargo xtask bench boot`: how long until the first instruction of the process asked for, and until its exit.
//!
//! Every subject starts the same static program on the same root. The request is the moment before the command is
//! spawned; the program's first act is to read the clock; the exit is when the command has ended (for a zone: when
//! the daemon says that it is installed again, its tear-down included).

use super::{
    Options,
    figures::{self, Figure},
    peers::{PEERS, Peer, Setting},
    probe, stage,
};
use crate::setup::{self, Purpose};
use anyhow::{Context as _, Result, ensure};
use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

const WARM_UP: u32 = 3;
const METRICS: [&str; 2] = ["first instruction", "exit"];
const YARDSTICK: &str = "crun";

/// Both times of one run, from the request.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: Duration,
    exit: Duration,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(setup::is_root(), "the bench makes namespaces, mounts and cgroups: run it as root");
    setup::ensure(&[Purpose::Build, Purpose::Bench])?;
    let folder = tempfile::Builder::new().prefix("xtask-bench-").tempdir().context("cannot make a folder")?;
    let root = probe::make_root(folder.path())?;
    let setting = Setting::new(root, folder.path().join("oci"))?;
    let _group = stage::Group::enter()?;
    let runs = options.runs;
    let measured = thread::spawn(move || measure(&setting, runs)).join();
    let series = measured.map_err(|_| anyhow::anyhow!("the measuring thread panicked"))??;
    let figures: Vec<Figure> = series.iter().flat_map(|(subject, runs)| figures_of(subject, runs)).collect();
    println!("{}\n", figures::table(&figures, &METRICS, YARDSTICK));
    println!("median, min and max of {runs} runs each, all subjects in turn");
    options.json.as_deref().map_or(Ok(()), |path| figures::write(path, &figures))
}

/// Runs all subjects in turn; another one goes first each time, so that none always follows the same one.
fn measure(setting: &Setting, runs: u32) -> Result<Vec<(&'static str, Vec<Run>)>> {
    stage::enter_private_view()?;
    let mut series: Vec<(&'static str, Vec<Run>)> =
        PEERS.iter().map(|peer| (peer.name, Vec::new())).collect();
    for round in 0..WARM_UP + runs {
        for turn in 0..PEERS.len() {
            let subject = (turn + round as usize) % PEERS.len();
            let run = run_peer(&PEERS[subject], setting, round)?;
            if round >= WARM_UP {
                series[subject].1.push(run);
            }
        }
    }
    Ok(series)
}

fn run_peer(peer: &Peer, setting: &Setting, round: u32) -> Result<Run> {
    let mut command: Command = (peer.command)(setting, round);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let request = SystemTime::now();
    let output = command.output().with_context(|| format!("cannot run {}", peer.name))?;
    let exit = SystemTime::now();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed ({}): {}", peer.name, output.status, complaint.trim());
    let first = probe::stamp(&said).with_context(|| format!("{}: the probe printed {said:?}", peer.name))?;
    Ok(Run { first: first.duration_since(request)?, exit: exit.duration_since(request)? })
}

fn figures_of(subject: &'static str, runs: &[Run]) -> Vec<Figure> {
    let of: [fn(&Run) -> Duration; 2] = [|run| run.first, |run| run.exit];
    METRICS
        .into_iter()
        .zip(of)
        .filter_map(|(metric, of)| {
            let series: Vec<Duration> = runs.iter().map(of).collect();
            let (median, min, max) = figures::spread(&series)?;
            let (bench, case, unit) = ("boot", "probe", "ms");
            Some(Figure { bench, case, subject, metric, unit, median, min, max, runs: runs.len() })
        })
        .collect()
}
