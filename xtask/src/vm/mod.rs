//! `cargo xtask vm`: the project on another kernel, in a virtual machine.
//!
//! ```text
//!             host                                          guest: Debian under systemd, cgroup2 alone
//!   apt ──▶ kernel ─┐                                      ┌─ / (NVMe, a copy that goes with the machine)
//!   mmdebstrap ─────┴─▶ root image ────────────────────────┤
//!   cargo ──▶ programs ──▶ drive (made for each run) ──────┴─ the workspace, at its own path
//!   session ◀── frames: command, streams, status ──▶ agent (this program)
//! ```
//! Kernel and root are kept below `target/xtask/vm`; a run that is interrupted finds there what was finished. The machine
//! has no network and ends with the run, or stays between `up` and `down`.

mod agent;
mod apt;
mod drive;
mod flatcg;
mod frames;
mod kernel;
mod machine;
mod root;
mod session;
mod shell;
mod tagged;
mod tests;
mod tracepoints;

use crate::{
    progress::seconds,
    setup::{self, Purpose},
    workspace,
};
use anyhow::{Context as _, Result, ensure};
use drive::{TestProgram, Tests};
use frames::Job;
use kernel::{Kernel, Wanted};
use machine::{Hardware, Machine};
use session::{Session, Sink};
use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// What the status is when there is no command's to pass on, as with `zonectl exec`.
const NO_STATUS: u8 = 125;

/// How many times longer than on the machine itself a test waits before it gives up. Emulated code runs about six times
/// slower.
const PATIENCE: &str = "6";

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Run a command inside; its exit status is this program's
    Run {
        #[command(flatten)]
        options: Options,
        /// The command, in the workspace's folder, with zonectl on its path
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Run tests inside: those tagged for it, or topics
    Test(tests::Args),
    /// Run every test inside, unit tests included
    Suite(tests::SuiteArgs),
    /// A shell inside
    Shell {
        #[command(flatten)]
        options: Options,
    },
    /// Boot a machine that stays: later runs with its kernel use it
    Up {
        #[command(flatten)]
        options: Options,
    },
    /// End every machine that stays
    Down,
    /// Fetch the kernel and make the root, for later runs without the mirror
    Prepare {
        #[command(flatten)]
        options: Options,
    },
    /// Build scx_flatcg of the kernel's source, for `bench cpu --backends flatcg` inside
    Flatcg {
        #[command(flatten)]
        options: Options,
    },
    /// What runs inside
    #[command(hide = true)]
    Agent,
}

#[derive(clap::Args)]
struct Options {
    /// Which of Debian's kernels: `newest`, or the newest of a version like 6.1 or 6.12
    #[arg(long, default_value = "newest", value_name = "VERSION")]
    kernel: Wanted,
    #[command(flatten)]
    hardware: Hardware,
    /// Longest for what runs inside, in seconds; then it is ended and the run has failed
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    limit: u32,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.verb {
        Verb::Run { options, command } => run_command(&options, command),
        Verb::Test(args) => tests::run(&args).map(|()| 0),
        Verb::Suite(args) => tests::run_suite(&args).map(|()| 0),
        Verb::Shell { options } => shell::run(&options),
        Verb::Up { options } => up(&options).map(|()| 0),
        Verb::Down => down().map(|()| 0),
        Verb::Prepare { options } => prepare(&options).map(|()| 0),
        Verb::Flatcg { options } => build_flatcg(&options).map(|()| 0),
        Verb::Agent => agent::run().map(|()| 0),
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        NO_STATUS
    }))
}

/// A machine with what was built in it, and the agent listening.
struct Inside {
    // Before the machine, so that it ends first.
    session: Session,
    machine: Machine,
    deadline: Instant,
}

impl Inside {
    /// Builds the project and gets a machine: the one that stays, or one of its own.
    fn enter(options: &Options, tests: Tests<'_>) -> Result<(Self, Vec<TestProgram>)> {
        setup::ensure(&[Purpose::Build, Purpose::Vm])?;
        let programs = drive::build(tests)?;
        let begun = Instant::now();
        let parts = Parts::obtain(options)?;
        let Parts { kernel, root, .. } = &parts;
        let (mut machine, stays) = match Machine::staying(kernel, &options.hardware)? {
            Some(machine) => (machine, true),
            None => (
                Machine::start(kernel, root, &options.hardware, |drive| drive::write(drive, &programs))?,
                false,
            ),
        };
        drop(parts.lock);
        let entered = machine.connect().and_then(|mut session| {
            if stays {
                session.unplug()?;
                drive::write(&machine.drive(), &programs)?;
            }
            session.plug(workspace::root())?;
            Ok(session)
        });
        let session = entered.map_err(|error| machine.explain(&error))?;
        let guest = &session.guest;
        ensure!(
            options.kernel != Wanted::Newest || guest.sched_ext,
            "Linux {} has no sched_ext, and the newest kernel must",
            guest.release
        );
        eprintln!(
            "inside: Linux {}, cgroup2 with {}{}, {}",
            guest.release,
            guest.controllers,
            if guest.sched_ext { ", sched_ext" } else { "" },
            seconds(begun.elapsed())
        );
        let deadline = Instant::now() + Duration::from_secs(options.limit.into());
        Ok((Self { session, machine, deadline }, programs))
    }

    /// Runs a command to its end.
    fn run(&mut self, job: Job, input: bool, sink: &mut dyn Sink) -> Result<u8> {
        let ended = self.session.run(job, input, Some(self.deadline), sink);
        ended.map_err(|error| self.machine.explain(&error))
    }

    /// Tells what the kernel has complained about meanwhile.
    fn leave(self) {
        let complaints = self.machine.complaints();
        if let [first, ..] = &complaints[..] {
            eprintln!(
                "the guest's kernel complained {} times, see {}; first:\n  {first}",
                complaints.len(),
                self.machine.console().display()
            );
        }
    }
}

/// What a machine is made from.
struct Parts {
    kernel: Kernel,
    root: PathBuf,
    /// One at a time makes them, and nobody removes what another is about to use.
    lock: File,
}

impl Parts {
    fn obtain(options: &Options) -> Result<Self> {
        fs::create_dir_all(folder()).context("cannot make the folder of machines")?;
        let lock = File::create(folder().join("lock"))?;
        lock.lock()?;
        let kernel = Kernel::obtain(&options.kernel, false)?;
        let root = root::image(&kernel)?;
        Ok(Self { kernel, root, lock })
    }
}

/// Where kernels, roots and consoles are kept.
fn folder() -> PathBuf {
    workspace::root().join("target/xtask/vm")
}

/// A command inside, with what programs of ours find themselves by.
fn job(command: Vec<String>, folder: PathBuf, options: &Options) -> Job {
    let binaries = drive::PROFILE.binaries();
    let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", binaries.display());
    let patience = if options.hardware.kvm { "1" } else { PATIENCE };
    let environment = [
        ("PATH", path),
        ("HOME", "/root".into()),
        ("LANG", "C.UTF-8".into()),
        ("TERM", env::var("TERM").unwrap_or_else(|_| "dumb".into())),
        ("RUST_BACKTRACE", "1".into()),
        ("ZONES_BIN", binaries.display().to_string()),
        ("ZONES_CACHE", workspace::cache().display().to_string()),
        ("ZONES_PATIENCE", patience.into()),
    ];
    let environment: BTreeMap<_, _> =
        environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Job { command, folder, environment, terminal: None }
}

/// Straight through to this program's own streams.
struct Through;

impl Sink for Through {
    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    fn errors(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(io::stderr().write_all(bytes)?)
    }
}

fn run_command(options: &Options, command: Vec<String>) -> Result<u8> {
    let (mut inside, _) = Inside::enter(options, Tests::None)?;
    let job = job(command, workspace::root().to_owned(), options);
    let status = inside.run(job, true, &mut Through)?;
    inside.leave();
    Ok(status)
}

fn up(options: &Options) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Vm])?;
    let programs = drive::build(Tests::None)?;
    let Parts { kernel, root, .. } = Parts::obtain(options)?;
    if Machine::staying(&kernel, &options.hardware)?.is_some() {
        println!("a machine with Linux {} is up already", kernel.release);
        return Ok(());
    }
    let mut machine =
        Machine::stay(&kernel, &root, &options.hardware, |drive| drive::write(drive, &programs))?;
    let session = machine.connect().map_err(|error| machine.explain(&error))?;
    println!("up: Linux {}; it stays until `cargo xtask vm down`", session.guest.release);
    Ok(())
}

fn down() -> Result<()> {
    match Machine::end_all()? {
        0 => println!("no machine was up"),
        1 => println!("ended 1 machine"),
        count => println!("ended {count} machines"),
    }
    Ok(())
}

fn prepare(options: &Options) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Vm])?;
    let Parts { kernel, root, .. } = Parts::obtain(options)?;
    println!("Linux {} and its root are there: {}", kernel.release, root.display());
    Ok(())
}

fn build_flatcg(options: &Options) -> Result<()> {
    setup::ensure(&[Purpose::Vm, Purpose::Flatcg])?;
    let Parts { kernel, .. } = Parts::obtain(options)?;
    println!(
        "{} is there: machines that are started from now on have it on their path",
        flatcg::build(&kernel)?.display()
    );
    Ok(())
}
