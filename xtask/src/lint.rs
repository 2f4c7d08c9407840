//! `cargo xtask lint`: formatting, and clippy with warnings as errors, on the host's crates and on the programs.

use crate::{
    build::succeed,
    ebpf,
    setup::{self, Purpose},
    workspace,
};
use anyhow::{Result, bail};

pub(crate) fn run() -> Result<()> {
    require("fmt", "rustfmt")?;
    require("clippy", "clippy")?;
    setup::ensure(&[Purpose::Build, Purpose::Lint])?;
    succeed(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    succeed(workspace::cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"]))?;
    ebpf::clippy()?;
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
