//! `cargo xtask test`: unit tests everywhere, then the integration tests against the built binaries.
//!
//! An integration test finds the binaries in the folder `ZONES_BIN`, and downloads of earlier runs in `ZONES_CACHE`.
//! A test that finds its machine lacking prints `skipped: WHY` and returns.

use crate::{
    build::{self, Profile},
    setup::{self, Purpose},
    stages::{Stage, conclude},
    tally::Reader,
    workspace,
};
use anyhow::{Context as _, Result};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// The package that holds the integration tests.
const INTEGRATION: &str = "zone-tests";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the tests marked as long too
    #[arg(long)]
    long: bool,
    /// Only these topics, folders of tests/, without the unit tests
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Arguments for the test programs, such as a test's name or --nocapture
    #[arg(last = true, value_name = "ARGUMENT")]
    libtest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stages = Vec::new();
    let binaries = prepare(&mut stages)?;
    if args.topics.is_empty() {
        stages.push(unit_tests(args)?);
    }
    if setup::is_root() {
        stages.push(integration_tests(args, &binaries)?);
    } else {
        println!("integration tests: skipped, they need root");
    }
    conclude(&stages)
}

/// Set-up and build, timed; the folder of the binaries.
fn prepare(stages: &mut Vec<Stage>) -> Result<PathBuf> {
    let mut timed = |name, begun: Instant| stages.push(Stage::passed(name, begun.elapsed()));
    let begun = Instant::now();
    setup::ensure(&[Purpose::Build, Purpose::Test])?;
    timed("set-up", begun);
    let begun = Instant::now();
    let binaries = build::everything(Profile::Debug)?;
    timed("build", begun);
    Ok(binaries)
}

fn unit_tests(args: &Args) -> Result<Stage> {
    let mut cargo = workspace::cargo();
    // The programs for the kernel have no tests: there is no harness without the standard library.
    cargo.args(["test", "--no-fail-fast", "--workspace", "--exclude", INTEGRATION, "--exclude", "zone-ebpf"]);
    stage("unit tests", pass_on(&mut cargo, args))
}

fn integration_tests(args: &Args, binaries: &Path) -> Result<Stage> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-fail-fast", "--package", INTEGRATION]);
    cargo.args(args.topics.iter().flat_map(|topic| ["--test", topic]));
    cargo.env("ZONES_BIN", binaries).env("ZONES_CACHE", workspace::cache());
    stage("integration tests", pass_on(&mut cargo, args))
}

fn pass_on<'a>(cargo: &'a mut Command, args: &Args) -> &'a mut Command {
    cargo.args(["--", "--show-output"]);
    if args.long {
        cargo.arg("--include-ignored");
    }
    cargo.args(&args.libtest)
}

/// Runs cargo, passing on what the tests print and adding up their result lines.
fn stage(name: &'static str, cargo: &mut Command) -> Result<Stage> {
    let begun = Instant::now();
    println!("\n== {name}");
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let mut reader = Reader::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            reader.line(&line);
        }
    }
    let broken = !child.wait()?.success();
    Ok(Stage::new(name, begun.elapsed(), reader, broken))
}
