//! `cargo xtask deny`: the dependencies against `deny.toml`.
//!
//! Bans, licences and sources only: the database of advisories is a git repository that not every machine reaches.

use crate::{build::succeed, progress, workspace};
use anyhow::Result;

const VERSION: &str = "0.20.2";

pub(crate) fn run() -> Result<()> {
    if workspace::find_program("cargo-deny").is_none() {
        let mut cargo = workspace::cargo();
        cargo.args(["install", "cargo-deny", "--locked", "--version", VERSION]);
        progress::logged("building cargo-deny (some minutes)", "cargo-deny.log", &mut cargo)?;
    }
    succeed(workspace::cargo().args(["deny", "check", "bans", "licenses", "sources"]))
}
