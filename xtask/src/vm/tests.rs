//! `cargo xtask vm test` and `vm suite`: tests inside, counted as outside.

use super::{
    Inside, Options,
    drive::{self, TestProgram, Tests},
    job,
    session::Sink,
    tagged::{TAGGED, Tagged},
};
use crate::{
    build,
    daemon::Daemon,
    setup::{self, Purpose},
    stages::{Stage, conclude},
    tally::Reader,
    workspace,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{self, Write as _},
    time::Instant,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// Run the tests marked as long too
    #[arg(long)]
    long: bool,
    /// All tests of these topics, folders of tests/, instead of those that are tagged
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Arguments for the test programs, such as a test's name or --nocapture
    #[arg(last = true, value_name = "ARGUMENT")]
    libtest: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct SuiteArgs {
    #[command(flatten)]
    options: Options,
    /// Run the tests marked as long too
    #[arg(long)]
    long: bool,
    /// Arguments for the test programs
    #[arg(last = true, value_name = "ARGUMENT")]
    libtest: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if !args.topics.is_empty() {
        let arguments = arguments(args.long, &args.libtest);
        return rounds(&args.options, Tests::Topics(&args.topics), |_| Ok(arguments.clone()));
    }
    ensure!(args.libtest.is_empty(), "name the topic whose tests the arguments are for");
    let topics: Vec<_> = TAGGED.iter().map(|tagged| tagged.topic.to_owned()).collect();
    for Tagged { topic, tests, why } in TAGGED {
        println!("{topic} {}: {why}", tests.join(" "));
    }
    rounds(&args.options, Tests::Topics(&topics), |program| {
        let tagged = TAGGED.iter().find(|tagged| tagged.topic == program.name);
        let tests = tagged.with_context(|| format!("topic {} is not tagged", program.name))?.tests;
        for test in tests {
            ensure!(program.has(test)?, "no test of {} is named {test} any more", program.name);
        }
        let tests: Vec<_> = tests.iter().map(ToString::to_string).collect();
        Ok(arguments(args.long, &tests))
    })
}

pub(super) fn run_suite(args: &SuiteArgs) -> Result<()> {
    let arguments = arguments(args.long, &args.libtest);
    rounds(&args.options, Tests::All, |_| Ok(arguments.clone()))
}

fn arguments(long: bool, more: &[String]) -> Vec<String> {
    let long = long.then(|| "--include-ignored".to_owned());
    ["--show-output".to_owned()].into_iter().chain(long).chain(more.iter().cloned()).collect()
}

fn rounds(
    options: &Options,
    tests: Tests<'_>,
    choose: impl Fn(&TestProgram) -> Result<Vec<String>>,
) -> Result<()> {
    let begun = Instant::now();
    download_images()?;
    let (mut inside, programs) = Inside::enter(options, tests)?;
    let mut stages = vec![Stage::passed("to the first test", begun.elapsed())];
    for program in &programs {
        match one(&mut inside, program, choose(program)?, options) {
            Ok(stage) => stages.push(stage),
            // The machine is lost, and what has been found is not.
            Err(error) => {
                let _ = conclude(&stages);
                return Err(error.context(format!("in {}", program.name)));
            }
        }
    }
    inside.leave();
    conclude(&stages)
}

fn one(
    inside: &mut Inside,
    program: &TestProgram,
    arguments: Vec<String>,
    options: &Options,
) -> Result<Stage> {
    let begun = Instant::now();
    println!("\n== {}", program.name);
    let command = [program.path.display().to_string()].into_iter().chain(arguments).collect();
    let mut lines = Lines::default();
    let status = inside.run(job(command, program.folder.clone(), options), false, &mut lines)?;
    lines.end()?;
    Ok(Stage::new(&program.name, begun.elapsed(), lines.reader, status != 0))
}

/// The machine has no network: a Debian that tests make zones from must have been downloaded here before.
fn download_images() -> Result<()> {
    let there = fs::read_dir(workspace::cache()).into_iter().flatten().flatten();
    if there.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("debian-")) {
        return Ok(());
    }
    setup::ensure(&[Purpose::Build, Purpose::Demo])?;
    ensure!(setup::is_root(), "downloading the Debian that tests make zones from takes root");
    let daemon = Daemon::start(&build::with_guard(drive::PROFILE)?, "image")?;
    for words in ["create d --image debian:bookworm", "install d", "uninstall --force d", "delete --force d"]
    {
        daemon.ask(&words.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Output of a test program: passed on, and counted by whole lines.
#[derive(Default)]
struct Lines {
    reader: Reader,
    begun: Vec<u8>,
}

impl Lines {
    fn end(&mut self) -> Result<()> {
        if !self.begun.is_empty() {
            self.output(b"\n")?;
        }
        Ok(())
    }
}

impl Sink for Lines {
    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        self.begun.extend(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = self.begun.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\n');
            println!("{line}");
            self.reader.line(line);
        }
        Ok(())
    }

    fn errors(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(io::stderr().write_all(bytes)?)
    }
}
