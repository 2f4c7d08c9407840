//! `cargo xtask build`: the daemon, the monitor and the command line, with the eBPF programs inside.

use crate::{
    ebpf,
    setup::{self, Purpose},
    workspace,
};
use anyhow::{Context as _, Result, ensure};
use std::{path::PathBuf, process::Command};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimise the host's binaries
    #[arg(long)]
    release: bool,
}

/// How the host's binaries are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
    /// For emulated machines: fast enough there, and compiled in a quarter of the time.
    Emulated,
}

impl Profile {
    /// The folder below the target folder that cargo puts binaries of this profile in.
    pub(crate) fn binaries(self) -> PathBuf {
        workspace::target_dir().join(match self {
            Self::Debug => "debug",
            Self::Release => "release",
            Self::Emulated => "emulated",
        })
    }

    fn argument(self) -> Option<&'static str> {
        match self {
            Self::Debug => None,
            Self::Release => Some("--profile=release"),
            Self::Emulated => Some("--profile=emulated"),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let profile = if args.release { Profile::Release } else { Profile::Debug };
    setup::ensure(&[Purpose::Build])?;
    let folder = everything(profile)?;
    println!("zoned, zone-monitor and zonectl are in {}", folder.display());
    Ok(())
}

/// Builds the programs and the binaries around them; returns the binaries' folder.
pub(crate) fn everything(profile: Profile) -> Result<PathBuf> {
    compile(profile, &["zoned"])
}

/// As [`everything`], with the guard that cleans up after daemons of xtask's own.
pub(crate) fn with_guard(profile: Profile) -> Result<PathBuf> {
    compile(profile, &["zoned", "zone-tests"])
}

fn compile(profile: Profile, packages: &[&str]) -> Result<PathBuf> {
    ebpf::build()?;
    let cargo = |verb: &str, packages: &[&str]| {
        let mut cargo = workspace::cargo();
        cargo.arg(verb).args(packages.iter().flat_map(|package| ["--package", package]));
        cargo.args(profile.argument());
        cargo
    };
    succeed(cargo("build", packages).arg("--bins"))?;
    let mut zonectl = cargo("rustc", &["zonectl"]);
    zonectl.args(["--bin", "zonectl"]);
    if profile != Profile::Debug {
        // A command lasts a millisecond or two: finding and relocating its libraries would be a good part of that. It asks
        // for no user, host or locale, which glibc looks up by libraries that are loaded later.
        zonectl.args(["--", "-Ctarget-feature=+crt-static"]);
    }
    succeed(&mut zonectl)?;
    Ok(profile.binaries())
}

/// Runs a command that speaks for itself; its failure names it.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let arguments = || command.get_args().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
    ensure!(status.success(), "cargo {} failed ({status})", arguments());
    Ok(())
}
