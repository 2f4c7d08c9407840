//! `cargo xtask bench NAME`: measurements against peers and a floor, all subjects in turn in one run.

mod api;
mod boot;
mod bridged;
mod figures;
mod peers;
mod probe;
mod stage;
mod zone;

use anyhow::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// From the request to the first instruction of the started process, and to its exit
    Boot(Options),
}

/// Options of every bench.
#[derive(clap::Args)]
struct Options {
    /// Also write one JSON object a line, {bench, case, subject, metric, unit, median, min, max, runs}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often each subject is measured
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.bench {
        Bench::Boot(options) => boot::run(options),
    }
}
