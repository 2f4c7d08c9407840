//! `cargo xtask test`: unit tests everywhere, then the integration tests against the built binaries.
//!
//! An integration test finds the binaries in the folder `ZONES_BIN`, and downloads of earlier runs in `ZONES_CACHE`.
//! A test that finds its machine lacking prints `skipped: WHY` and returns.

use crate::{
    build::{self, Profile},
    progress::seconds,
    setup::{self, Purpose},
    tally::{Reader, Tally},
    workspace,
};
use anyhow::{Context as _, Result, bail};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
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

/// A part of the run, with what came of it.
struct Stage {
    name: &'static str,
    took: Duration,
    tally: Tally,
    /// Tests that were skipped, with the reason.
    skipped: Vec<String>,
    /// Some test program failed, crashed, or did not compile.
    broken: bool,
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
    let mut timed = |name, begun: Instant| {
        stages.push(Stage {
            name,
            took: begun.elapsed(),
            tally: Tally::default(),
            skipped: Vec::new(),
            broken: false,
        });
    };
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
    let Reader { tally, skipped, .. } = reader;
    Ok(Stage { name, took: begun.elapsed(), tally, skipped, broken })
}

fn conclude(stages: &[Stage]) -> Result<()> {
    println!("\n== summary");
    let mut sum = Tally::default();
    for stage in stages {
        let Stage { name, took, tally, skipped, broken } = stage;
        sum += *tally;
        // A program that crashed or did not compile has printed no result line.
        let note =
            if *broken && tally.failed == 0 { ", and a test program did not run to its end" } else { "" };
        match *tally == Tally::default() && !broken {
            true => println!("{name:<18} {:>8}", seconds(*took)),
            false => println!("{name:<18} {:>8}  {tally}{note}", seconds(*took)),
        }
        skipped.iter().for_each(|test| println!("    skipped: {test}"));
    }
    println!("{sum}");
    if stages.iter().any(|stage| stage.broken) {
        bail!("tests failed");
    }
    Ok(())
}
