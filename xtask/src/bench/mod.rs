//! `cargo xtask bench NAME`: measurements against peers and a floor, all subjects in turn in one run.

mod api;
mod boot;
mod bridged;
mod cpu;
mod figures;
mod load;
mod peers;
mod probe;
mod stage;
mod steering;
mod switch;
mod zone;

use crate::{
    build::{self, Profile},
    setup::{self, Purpose},
};
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
    /// How well CPU shares are kept, by each of the backends that can keep them
    Cpu(cpu::Args),
    /// What zoned takes of the CPUs while few or many zones contend
    Steering(steering::Args),
    /// What the eBPF programs cost at each switch between tasks
    Switch(switch::Args),
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

/// The folder of the binaries, optimised: where `ZONES_BIN` says (in a virtual machine), or built.
struct Binaries(PathBuf);

impl Binaries {
    fn find() -> Result<Self> {
        if let Some(there) = std::env::var_os("ZONES_BIN") {
            return Ok(Self(there.into()));
        }
        setup::ensure(&[Purpose::Build])?;
        build::with_guard(Profile::Release).map(Self)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.bench {
        Bench::Boot(options) => boot::run(options),
        Bench::Cpu(args) => cpu::run(args),
        Bench::Steering(args) => steering::run(args),
        Bench::Switch(args) => switch::run(args),
    }
}
