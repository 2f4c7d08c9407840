//! `cargo xtask setup`: brings a fresh Debian machine to where everything here builds and runs.
//!
//! Every verb that needs something calls [`ensure`] first. It looks, and when nothing is missing it is done in a
//! fraction of a second and has said nothing. It never removes a package.

use crate::{
    packages::{self, Group, Package},
    progress,
    toolchain::{self, LLVM, OLDEST_LINKER, Origin},
    workspace,
};
use anyhow::{Result, bail};
use std::{os::unix::fs::MetadataExt as _, path::Path, process::Command};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say what is missing; fail if anything is
    #[arg(long)]
    check: bool,
}

/// What a verb is about to do, and so what has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    Lint,
    Demo,
    Test,
    Bench,
    Vm,
    Flatcg,
}

/// Not what builds a peer, which is a compiler for once.
const EVERYTHING: &[Purpose] =
    &[Purpose::Build, Purpose::Lint, Purpose::Demo, Purpose::Test, Purpose::Bench, Purpose::Vm];

/// What is missing on this machine.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) packages: Vec<Package>,
    /// bpf-linker is absent, too old, or does not run.
    pub(crate) linker: bool,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.packages.is_empty() && !self.linker
    }

    /// One line for each thing, with its reason.
    fn lines(&self) -> Vec<String> {
        let packages = self.packages.iter().map(|package| format!("  {:<18} {}", package.name, package.why));
        let linker = self
            .linker
            .then(|| format!("  bpf-linker {OLDEST_LINKER}  links the eBPF programs (cargo install)"));
        packages.chain(linker).collect()
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let missing = look(EVERYTHING)?;
    if missing.is_empty() {
        println!("nothing to do: everything is there");
        return Ok(());
    }
    println!("missing on this machine:\n{}", missing.lines().join("\n"));
    if args.check {
        bail!("{} missing; `cargo xtask setup` installs them", missing.lines().len());
    }
    install(&missing)
}

/// Installs what is missing for these purposes; quick and silent when nothing is.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<()> {
    let missing = look(purposes)?;
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("set-up: missing on this machine:\n{}", missing.lines().join("\n"));
    install(&missing)
}

/// True if this process runs as root.
pub(crate) fn is_root() -> bool {
    // The owner of a process's own folder is its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|proc| proc.uid() == 0)
}

fn look(purposes: &[Purpose]) -> Result<Missing> {
    let toolchain = toolchain::choose().ok();
    let linker = toolchain::choose_linker().is_err();
    let mut groups = vec![Group::Build];
    if toolchain.is_none() {
        groups.push(Group::Toolchain);
    }
    if linker {
        groups.push(Group::Linker);
    }
    for purpose in purposes {
        match purpose {
            Purpose::Build => {}
            // rustup's toolchains bring their own clippy.
            Purpose::Lint if toolchain.as_ref().is_none_or(|t| t.origin == Origin::Distribution) => {
                groups.push(Group::Lint);
            }
            Purpose::Lint => {}
            Purpose::Demo => groups.extend([Group::Run, Group::Demo]),
            Purpose::Test => groups.extend([Group::Run, Group::Test]),
            Purpose::Bench => groups.extend([Group::Run, Group::Bench]),
            Purpose::Vm => groups.push(Group::Vm),
            Purpose::Flatcg => groups.push(Group::Flatcg),
        }
    }
    let mut wanted: Vec<Package> = Vec::new();
    for package in groups.iter().flat_map(|group| group.packages()) {
        if !wanted.contains(package) {
            wanted.push(*package);
        }
    }
    Ok(Missing { packages: packages::missing(&wanted)?, linker })
}

fn install(missing: &Missing) -> Result<()> {
    if !missing.packages.is_empty() {
        install_packages(&missing.packages)?;
    }
    if missing.linker {
        install_linker()?;
    }
    // Whatever was installed, this is what counts; each says what is wrong if something still is.
    toolchain::choose()?;
    toolchain::choose_linker()?;
    Ok(())
}

fn install_packages(packages: &[Package]) -> Result<()> {
    let names: Vec<_> = packages.iter().map(|package| package.name).collect();
    if !is_root() {
        bail!(
            "installing Debian packages takes root; run this, then the same command again:\n  \
             sudo apt-get update && sudo apt-get install --no-install-recommends {}",
            names.join(" ")
        );
    }
    if names.contains(&"rustc-web") && !packages::missing(&[RUSTUP])?.contains(&RUSTUP) {
        bail!(
            "Debian's rustup and its {} cannot be installed together; give rustup's toolchain the source instead:\n  \
             rustup component add rust-src",
            names.join(", ")
        );
    }
    progress::logged("apt-get update", "apt-update.log", &mut apt(&["update"]))?;
    let title = match names[..] {
        [name] => format!("installing the Debian package {name}"),
        _ => format!("installing {} Debian packages", names.len()),
    };
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove", "--allow-downgrades"];
    // Not what is asked for by name alone: only these may become older.
    let along = packages::along_with(&names)?;
    progress::logged(&title, "apt-install.log", apt(&install).args(names).args(along))
}

const RUSTUP: Package = Package { name: "rustup", why: "conflicts with rustc-web" };

fn apt(args: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    // Another apt may be at work on a machine that has just started: wait for it, up to five minutes.
    apt.args(["-o", "DPkg::Lock::Timeout=300", "-q"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn install_linker() -> Result<()> {
    let version = OLDEST_LINKER.to_string();
    let llvm = format!("llvm-{LLVM}");
    let title = format!("building bpf-linker {version} (about a minute)");
    let mut cargo = workspace::cargo();
    cargo
        .args(["install", "bpf-linker", "--locked", "--force", "--version", &version])
        .args(["--no-default-features", "--features", &llvm])
        .env("LLVM_PREFIX", Path::new("/usr/lib").join(&llvm));
    progress::logged(&title, "bpf-linker.log", &mut cargo)
}
