//! `cargo xtask lint`: formatting, and clippy with warnings as errors, on the host's crates and on the programs.

use crate::{
    build::succeed,
    ebpf,
    setup::{self, Purpose},
    workspace,
};
use anyhow::{Result, bail, ensure};

pub(crate) fn run() -> Result<()> {
    require("fmt", "rustfmt")?;
    require("clippy", "clippy")?;
    setup::ensure(&[Purpose::Build, Purpose::Lint])?;
    // All of them, whatever the first one says: a person mends everything in one go.
    let checks = [
        succeed(workspace::cargo().args(["fmt", "--all", "--check"])),
        succeed(workspace::cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"])),
        ebpf::clippy(),
    ];
    let failures: Vec<_> =
        checks.into_iter().filter_map(|check| Some(format!("\n  {:#}", check.err()?))).collect();
    ensure!(failures.is_empty(), "lint failed:{}", failures.concat());
    println!("formatted, and clippy has nothing to say");
    Ok(())
}

/// rustup's minimal profile comes without these components.
fn require(verb: &str, component: &str) -> Result<()> {
    let there =
        workspace::cargo().args([verb, "--version"]).output().is_ok_and(|output| output.status.success());
    if !there {
        bail!("cargo {verb} is not installed; run `rustup component add {component}`");
    }
    Ok(())
}
