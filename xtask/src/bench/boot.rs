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
    zone::{Way, Zone},
};
use crate::{
    build::{self, Profile},
    setup::{self, Purpose},
};
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

/// Whatever is measured.
enum Subject {
    Peer(&'static Peer),
    Zone(Way),
}

impl Subject {
    fn name(&self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.name,
            Self::Zone(Way::Command) => "zonectl boot",
            Self::Zone(Way::Call) => "API call",
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(setup::is_root(), "the bench makes namespaces, mounts and cgroups: run it as root");
    setup::ensure(&[Purpose::Build, Purpose::Bench])?;
    let binaries = build::with_guard(Profile::Release)?;
    let folder = tempfile::Builder::new().prefix("xtask-bench-").tempdir().context("cannot make a folder")?;
    let root = probe::make_root(folder.path())?;
    // The daemon sees the machine as it is: it is started before the view of the peers is made.
    let zone = Zone::install(&binaries, &root)?;
    let setting = Setting::new(root, folder.path().join("oci"))?;
    let _group = stage::Group::enter()?;
    let runs = options.runs;
    let measured = thread::spawn(move || measure(&setting, zone, runs)).join();
    let series = measured.map_err(|_| anyhow::anyhow!("the measuring thread panicked"))??;
    let figures: Vec<Figure> =
        series.iter().flat_map(|(subject, runs)| figures_of(subject.name(), runs)).collect();
    println!("{}\n", figures::table(&figures, &METRICS, YARDSTICK));
    println!("median, min and max of {runs} runs each, all subjects in turn");
    options.json.as_deref().map_or(Ok(()), |path| figures::write(path, &figures))
}

/// Runs all subjects in turn, in another order each time: what a subject leaves warm serves a different one.
fn measure(setting: &Setting, mut zone: Zone, runs: u32) -> Result<Vec<(Subject, Vec<Run>)>> {
    stage::enter_private_view()?;
    let subjects =
        PEERS.iter().map(Subject::Peer).chain([Subject::Zone(Way::Command), Subject::Zone(Way::Call)]);
    let mut series: Vec<(Subject, Vec<Run>)> = subjects.map(|subject| (subject, Vec::new())).collect();
    let mut order: Vec<usize> = (0..series.len()).collect();
    let mut shuffle = Shuffle(0x9e37_79b9);
    for round in 0..WARM_UP + runs {
        shuffle.apply(&mut order);
        for &index in &order {
            let (subject, taken) = &mut series[index];
            let run = match subject {
                Subject::Peer(peer) => run_peer(peer, setting, round)?,
                Subject::Zone(way) => run_zone(&mut zone, *way)?,
            };
            if round >= WARM_UP {
                taken.push(run);
            }
        }
    }
    Ok(series)
}

/// Orders that look random and are the same in every run (Marsaglia's xorshift).
struct Shuffle(u32);

impl Shuffle {
    fn apply(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            order.swap(last, self.0 as usize % (last + 1));
        }
    }
}

fn run_zone(zone: &mut Zone, way: Way) -> Result<Run> {
    let [request, first, exit] = zone.boot(way)?;
    Ok(Run { first: first.duration_since(request)?, exit: exit.duration_since(request)? })
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
