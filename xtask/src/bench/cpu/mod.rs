//! `cargo xtask bench cpu`: how well shares are kept, by each of the backends that can keep them, side by side.
//!
//! Real zones of a daemon of its own, with work in them. What they got is read from the kernel's own account of their
//! groups, not from what the controller steers by. Everything is held against what they are entitled to
//! ([`fairness::fill`]) of what all of them got: what else the machine does takes from all.
//!
//! ```text
//! cases ─▶ stage (zones, backend, work) ─▶ samples ─▶ judge ─▶ report: table, JSON, plots
//! ```

mod cases;
mod judge;
mod keeper;
mod plot;
mod report;
mod sample;
mod stage;

use self::{
    cases::{CASES, Case},
    judge::Verdict,
    stage::Stage,
};
use super::{Binaries, figures};
use crate::setup;
use anyhow::{Result, ensure};
use std::{path::PathBuf, time::Duration};

/// Work begins, and whatever steers has found its way.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each case is measured with each backend
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long each case is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// Only these cases, by letter
    #[arg(long, value_name = "LETTERS", default_value = "ABCDEFGS")]
    cases: String,
    /// What keeps shares, a column for each: a backend of zoned's, the kernel alone in the mode `concur` or `smp` of its
    /// groups, or `flatcg`, which is scx_flatcg of the kernel's source
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "shares,deficit")]
    backends: Vec<String>,
    /// Also write one JSON object a line
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw what each zone got over time, one SVG a case
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// One measurement.
pub(crate) struct Run {
    pub(crate) case: &'static Case,
    pub(crate) backend: String,
    pub(crate) series: sample::Series,
    pub(crate) verdict: Verdict,
    /// CPUs that each zone was entitled to of what all got; none for the sleeper.
    pub(crate) entitled: Vec<Option<f64>>,
    /// How late the sleeper woke, microseconds: half of the times and 99 of 100 times at most.
    pub(crate) late_us: Option<[f64; 2]>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(setup::is_root(), "the bench boots zones: run it as root");
    let cases: Vec<_> = CASES.iter().filter(|case| args.cases.contains(case.letter)).collect();
    ensure!(!cases.is_empty(), "--cases: none of {:?} is a case", args.cases);
    let most = cases.iter().map(|case| case.zones.len()).max().unwrap_or(0);
    let mut stage = Stage::new(&Binaries::find()?.0, &args.backends, most)?;
    let mut runs = Vec::new();
    for round in 0..args.runs {
        // In turn, and each first as often as the others: the machine changes meanwhile. One after the other, since what keeps
        // shares takes its time to come.
        for turn in 0..args.backends.len() {
            let backend = &args.backends[(turn + round as usize) % args.backends.len()];
            for case in &cases {
                let run = measure(&mut stage, case, backend, Duration::from_secs(args.seconds))?;
                if !stage.is_kept() {
                    eprintln!("{} {backend}: the kernel took it away meanwhile: not counted", case.letter);
                    continue;
                }
                eprintln!("{}", report::line(round + 1, args.runs, &run));
                runs.push(run);
            }
        }
    }
    drop(stage);
    println!("{}", report::tables(&runs, &args.backends));
    let figures = report::figures(&runs, &args.backends);
    args.json.as_deref().map_or(Ok(()), |path| figures::write(path, &figures))?;
    args.plots.as_deref().map_or(Ok(()), |folder| plot::write(folder, &runs, &args.backends))
}

fn measure(stage: &mut Stage, case: &'static Case, backend: &str, length: Duration) -> Result<Run> {
    stage.keep_by(backend)?;
    stage.give(case.zones.iter().map(|zone| zone.shares))?;
    let work = stage.work(case)?;
    let meter = stage.meter(case.zones.len())?;
    let mut series = sample::Series::default();
    series.record(&meter, SETTLE)?;
    if let Some(then) = case.then {
        series.record(&meter, length)?;
        stage.give(then.iter().copied())?;
        series.record(&meter, judge::CONVERGED)?;
    }
    let judged_from = series.len();
    series.record(&meter, length)?;
    let late_us = work.end()?;
    let (verdict, entitled) = judge::judge(&series, judged_from, &case.claims(), stage.cpus());
    Ok(Run { case, backend: backend.to_owned(), series, verdict, entitled, late_us })
}
