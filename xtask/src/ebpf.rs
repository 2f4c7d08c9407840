//! `cargo xtask ebpf`: the programs of `zone-ebpf` into objects that `zoned` embeds.
//!
//! There is no unoptimised build of an eBPF program: the verifier would refuse it. So the profile is always
//! `ebpf`, whatever the host's binaries are built with.

use crate::{
    build::succeed,
    toolchain::{self, Toolchain},
    workspace,
};
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PACKAGE: &str = "zone-ebpf";
/// What its binaries are called; each is an object.
const OBJECTS: [&str; 3] = ["zone-ebpf", "zone-fss", "zone-congestion"];
const PROFILE: &str = "ebpf";
const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

const SELECTION: [&str; 9] =
    ["--package", PACKAGE, "--bins", "--profile", PROFILE, "--target", TARGET, "-Z", "build-std=core"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name each toolchain considered, and why it was not taken
    #[arg(short, long)]
    verbose: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.verbose {
        for t in toolchain::all() {
            println!("{} (rustc {}): {}", t.name, t.version, t.unfit.as_deref().unwrap_or("will do"));
        }
    }
    for (name, changed) in OBJECTS.into_iter().zip(build()?) {
        let object = workspace::ebpf_object(name);
        println!("{} {}", object.display(), if changed { "written" } else { "is up to date" });
    }
    Ok(())
}

/// Builds the objects; of each whether it differs from the one that was there.
pub(crate) fn build() -> Result<Vec<bool>> {
    let folder = compile(&toolchain::choose()?, &toolchain::choose_linker()?)?;
    OBJECTS.iter().map(|name| put(&folder.join(name), &workspace::ebpf_object(name))).collect()
}

/// An object that did not change keeps its time stamp, or zoned would be compiled again for nothing.
fn put(built: &Path, to: &Path) -> Result<bool> {
    let object = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(to).is_ok_and(|present| present == object) {
        return Ok(false);
    }
    let fresh = to.with_extension("o.new");
    fs::write(&fresh, object).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("cannot rename {} into place", fresh.display()))?;
    Ok(true)
}

fn compile(toolchain: &Toolchain, linker: &Path) -> Result<PathBuf> {
    succeed(cargo(toolchain, &toolchain.cargo, linker).arg("build").args(SELECTION)).with_context(|| {
        format!("rustc {} of {} cannot build the eBPF programs", toolchain.version, toolchain.name)
    })?;
    Ok(workspace::ebpf_target_dir().join(TARGET).join(PROFILE))
}

/// Clippy on the programs, by the toolchain that builds them.
pub(crate) fn clippy() -> Result<()> {
    let toolchain = toolchain::choose()?;
    // The program itself, not `cargo clippy`: cargo would look for it along PATH and find another toolchain's.
    let clippy = toolchain.cargo.with_file_name("cargo-clippy");
    let mut command = cargo(&toolchain, &clippy, &toolchain::choose_linker()?);
    succeed(
        command
            .env("CARGO", &toolchain.cargo)
            .arg("clippy")
            .args(SELECTION)
            .args(["--", "--deny", "warnings"]),
    )
}

/// A cargo, or a program in its place, that compiles for the kernel's virtual machine.
fn cargo(toolchain: &Toolchain, program: &Path, linker: &Path) -> Command {
    let mut command = workspace::foreign(program);
    command
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace::ebpf_target_dir())
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(linker));
    command
}

fn rustflags(linker: &Path) -> String {
    [
        format!("-Clinker={}", linker.display()),
        // BTF is made from debug information, and only on request.
        "-Clink-arg=--btf".into(),
        "-Cdebuginfo=2".into(),
        // 32-bit jumps and atomics that return the old value: Linux 5.12 and later.
        "-Ctarget-cpu=v3".into(),
        // Which registers hold a function's arguments is the host's matter: aya-ebpf asks for it.
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
    ]
    .join("\x1f")
}
