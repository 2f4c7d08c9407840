//! `cargo xtask bench switch`: what the eBPF programs cost at each switch, with the histogram of waits.
//!
//! Two threads of a zone wake each other through pipes on one CPU, with the programs and without, in pairs that follow
//! each other at once: what else the machine does falls on both. The process and its groups stay the same; zoned is killed
//! and its pins are removed, or it is started and takes the zone over.

use super::{
    Binaries, figures,
    figures::Figure,
    load::{Session, boot},
};
use crate::{daemon::Daemon, setup};
use anyhow::{Context as _, Result, ensure};
use std::{fs, path::Path, path::PathBuf, thread, time::Duration};

/// What a switch may cost, nanoseconds.
const BOUND: f64 = 300.0;

const ZONE: &str = "pingpong";

/// Programs that were detached may run until a grace period has passed.
const GRACE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many pairs are measured
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(6..))]
    pairs: u32,
    /// The CPU on which the threads wake each other
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// Also write one JSON object a line
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(setup::is_root(), "the bench boots a zone: run it as root");
    let binaries = Binaries::find()?.0;
    let mut daemon = Daemon::start(&binaries, "bench")?;
    boot(&daemon, &binaries, ZONE)?;
    let mut session = Session::start(&daemon, ZONE, &["pingpong", &args.cpu.to_string()])?;
    let mut measure = || -> Result<f64> {
        let said = session.ask("go")?;
        said.parse().with_context(|| format!("zone-load said {said:?}"))
    };
    measure()?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for pair in 0..args.pairs {
        // It begins as the pair before has ended, so that neither way is always the first.
        if pair % 2 == 0 {
            with.push(measure()?);
            unload(&mut daemon)?;
            without.push(measure()?);
        } else {
            without.push(measure()?);
            daemon.start_zoned()?;
            with.push(measure()?);
        }
    }
    if args.pairs % 2 == 1 {
        daemon.start_zoned()?;
    }
    let cost: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    report(&with, &without, &cost);
    let figures = [("with", &with), ("without", &without), ("cost", &cost)].map(figure);
    args.json.as_deref().map_or(Ok(()), |path| figures::write(path, &figures))
}

/// Takes the programs out of the kernel, and leaves the zone as it is.
fn unload(daemon: &mut Daemon) -> Result<()> {
    daemon.kill_zoned()?;
    remove(&daemon.folder().join("run/bpf/zoned"))?;
    thread::sleep(GRACE);
    Ok(())
}

/// Removes what is pinned in a folder; the kernel forgets what nobody holds.
fn remove(folder: &Path) -> Result<()> {
    let cannot = || format!("cannot remove {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else {
            fs::remove_file(entry.path()).with_context(cannot)?;
        }
    }
    fs::remove_dir(folder).with_context(cannot)
}

fn report(with: &[f64], without: &[f64], cost: &[f64]) {
    for (name, series) in [("without", without), ("with", with)] {
        if let Some((median, least, most)) = figures::middle(series) {
            println!("{name:<8} {median:>7.0} ns a switch ({least:.0} to {most:.0})");
        }
    }
    if let (Some((median, ..)), Some((low, high))) = (figures::middle(cost), interval(cost)) {
        let verdict = if high <= BOUND {
            "below"
        } else if low > BOUND {
            "above"
        } else {
            "about"
        };
        println!(
            "cost     {median:>7.0} ns a switch, median of {} pairs; 95 % confidence {low:.0} to {high:.0}: {verdict} the bound of {BOUND:.0}",
            cost.len()
        );
    }
}

fn figure((metric, series): (&'static str, &Vec<f64>)) -> Figure {
    let (median, min, max) = figures::middle(series).unwrap_or_default();
    let (bench, unit, case, subject) = ("switch", "ns", "ping-pong".into(), "zoned".into());
    Figure { bench, case, subject, metric, unit, median, min, max, runs: series.len() }
}

/// In what the median of all there could be lies, with a confidence of 95 % at least, whatever the distribution: between
/// two of those that were seen, by the sign test. None for fewer than six.
fn interval(series: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    // Chances that so many or fewer of `count` lie below the median.
    let mut chance = 0.5f64.powi(i32::try_from(count).ok()?);
    let (mut sum, mut rank) = (0.0, 0);
    loop {
        sum += chance;
        if sum > 0.025 {
            break;
        }
        chance *= (count - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    let low = rank.checked_sub(1)?;
    Some((*sorted.get(low)?, *sorted.get(count - 1 - low)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_tables() {
        let series = |count: u32| (1..=count).map(f64::from).collect::<Vec<_>>();
        // Ranks as in tables of the sign test (Conover, Practical Nonparametric Statistics).
        assert_eq!(interval(&series(21)), Some((6.0, 16.0)));
        assert_eq!(interval(&series(6)), Some((1.0, 6.0)));
        assert_eq!(interval(&series(31)), Some((10.0, 22.0)));
        assert_eq!(interval(&series(5)), None);
    }
}
