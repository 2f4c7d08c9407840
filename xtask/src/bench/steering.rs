//! `cargo xtask bench steering`: what the daemon itself takes of the CPUs while zones contend, with the controller and
//! without it, for few zones and for many.

use super::{
    Binaries, figures,
    figures::Figure,
    load::{Session, boot},
};
use crate::{daemon::Daemon, setup};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Fixed weights, and weights that are steered.
const BACKENDS: [&str; 2] = ["shares", "deficit"];

/// Long enough for whatever a daemon does at its start to have ended.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// With how many zones
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [3, 100])]
    zones: Vec<usize>,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Also write one JSON object a line
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(setup::is_root(), "the bench boots zones: run it as root");
    let binaries = Binaries::find()?.0;
    let mut all = Vec::new();
    for zones in &args.zones {
        let figures = contend(&binaries, *zones, args)?;
        for figure in &figures {
            println!(
                "{:<10} {:<8} {:.3} % of a CPU ({:.3} to {:.3})",
                figure.case, figure.subject, figure.median, figure.min, figure.max
            );
        }
        all.extend(figures);
    }
    args.json.as_deref().map_or(Ok(()), |path| figures::write(path, &all))
}

/// One busy thread in each of so many zones.
fn contend(binaries: &Path, zones: usize, args: &Args) -> Result<Vec<Figure>> {
    let mut daemon = Daemon::start(binaries, "bench")?;
    let mut work = Vec::new();
    for zone in (0..zones).map(|number| format!("z{number}")) {
        boot(&daemon, binaries, &zone)?;
        work.push(zone);
    }
    let sessions: Vec<_> =
        work.iter().map(|zone| Session::start(&daemon, zone, &["busy", "1"])).collect::<Result<_>>()?;
    let mut taken = BACKENDS.map(|_| Vec::new());
    for _ in 0..args.runs {
        for (backend, taken) in BACKENDS.into_iter().zip(&mut taken) {
            daemon.kill_zoned()?;
            daemon.restart_with(vec!["--cpu-backend".into(), backend.into()])?;
            thread::sleep(SETTLE);
            taken.push(percent(&daemon, Duration::from_secs(args.seconds))?);
        }
    }
    drop(sessions);
    let figure = |(backend, taken): (&str, &Vec<f64>)| {
        let (median, min, max) = figures::middle(taken).unwrap_or_default();
        let (bench, metric, unit) = ("steering", "taken by zoned", "%");
        let (case, subject) = (format!("{zones} zones"), backend.to_owned());
        Figure { bench, case, subject, metric, unit, median, min, max, runs: taken.len() }
    };
    Ok(BACKENDS.into_iter().zip(&taken).map(figure).collect())
}

/// What the daemon takes for so long, in percent of a CPU.
fn percent(daemon: &Daemon, length: Duration) -> Result<f64> {
    let (begun, before) = (Instant::now(), taken(daemon)?);
    thread::sleep(length);
    Ok(100.0 * (taken(daemon)? - before) / begun.elapsed().as_secs_f64())
}

/// CPU seconds of all threads of the daemon.
fn taken(daemon: &Daemon) -> Result<f64> {
    let folder = PathBuf::from(format!("/proc/{}/task", daemon.pid()?));
    let mut ns = 0;
    for task in fs::read_dir(&folder)? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let own = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
        ns += own.with_context(|| format!("{}: {text:?} is no schedstat", folder.display()))?;
    }
    Ok(ns as f64 / 1e9)
}
