//! `cargo xtask bench boot`: how long until the first instruction of the process asked for, and until its exit.
//!
//! There are two cases: `probe`, without a network, and `bridge`, on a bridge of the host's with an address of each family.
//! Every subject starts the same static program on the same root. The request is the moment before the command is
//! spawned; the program's first act is to read the clock; the exit is when the command has ended (for a zone: when
//! the daemon says that it is installed again, its tear-down included).

use super::{
    Options, bridged,
    figures::{self, Figure},
    peers::{self, Peer, Setting},
    probe, stage,
    zone::{self, Way, Zones},
};
use crate::{
    build::{self, Profile},
    netns::Netns,
    setup::{self, Purpose},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

const WARM_UP: u32 = 3;
const METRICS: [&str; 2] = ["first instruction", "exit"];
const CASES: [&str; 2] = ["probe", "bridge"];
const YARDSTICK: &str = "crun";

/// Both times of one run, from the request.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: Duration,
    exit: Duration,
}

/// Whatever is measured, in one of the cases.
struct Subject {
    case: &'static str,
    what: What,
}

enum What {
    Peer(&'static Peer),
    Zone(&'static str, Way),
}

impl Subject {
    fn all() -> impl Iterator<Item = Self> {
        let [probe, bridge] = CASES;
        let peers = [(probe, peers::PEERS.as_slice()), (bridge, bridged::PEERS.as_slice())];
        let peers = peers
            .into_iter()
            .flat_map(|(case, peers)| peers.iter().map(move |peer| Self { case, what: What::Peer(peer) }));
        let zones = [(probe, zone::PLAIN), (bridge, zone::BRIDGED)];
        peers.chain(zones.into_iter().flat_map(|(case, zone)| {
            [Way::Command, Way::Call].map(|way| Self { case, what: What::Zone(zone, way) })
        }))
    }

    fn name(&self) -> &'static str {
        match self.what {
            What::Peer(peer) => peer.name,
            What::Zone(_, Way::Command) => "zonectl boot",
            What::Zone(_, Way::Call) => "API call",
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
    let zones = Zones::install(&binaries, &root)?;
    let setting = Setting::new(root, folder.path().to_owned())?;
    let host = Netns::new()?;
    bridged::prepare(&setting, &host)?;
    let _group = stage::Group::enter()?;
    let runs = options.runs;
    let series = host.within(|| measure(&setting, zones, runs))??;
    let figures: Vec<Figure> = series.iter().flat_map(|(subject, runs)| figures_of(subject, runs)).collect();
    for case in CASES {
        println!("{case}:\n{}\n", figures::table(&figures, case, &METRICS, YARDSTICK));
    }
    println!("median, min and max of {runs} runs each, all subjects in turn");
    options.json.as_deref().map_or(Ok(()), |path| figures::write(path, &figures))
}

/// Runs all subjects in turn, in another order each time: what a subject leaves warm serves a different one.
fn measure(setting: &Setting, mut zones: Zones, runs: u32) -> Result<Vec<(Subject, Vec<Run>)>> {
    stage::enter_private_view()?;
    let mut series: Vec<(Subject, Vec<Run>)> = Subject::all().map(|subject| (subject, Vec::new())).collect();
    let mut order: Vec<usize> = (0..series.len()).collect();
    let mut shuffle = Shuffle(0x9e37_79b9);
    for round in 0..WARM_UP + runs {
        shuffle.apply(&mut order);
        for &index in &order {
            let (subject, taken) = &mut series[index];
            let run = match subject.what {
                What::Peer(peer) => run_peer(peer, setting, round)?,
                What::Zone(zone, way) => run_zone(&mut zones, zone, way)?,
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

fn run_zone(zones: &mut Zones, zone: &str, way: Way) -> Result<Run> {
    let [request, first, exit] = zones.boot(zone, way)?;
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

fn figures_of(of: &Subject, runs: &[Run]) -> Vec<Figure> {
    let times: [fn(&Run) -> Duration; 2] = [|run| run.first, |run| run.exit];
    METRICS
        .into_iter()
        .zip(times)
        .filter_map(|(metric, time)| {
            let series: Vec<Duration> = runs.iter().map(time).collect();
            let (median, min, max) = figures::spread(&series)?;
            let (bench, unit) = ("boot", "ms");
            let (case, subject) = (of.case.to_owned(), of.name().to_owned());
            Some(Figure { bench, case, subject, metric, unit, median, min, max, runs: runs.len() })
        })
        .collect()
}
