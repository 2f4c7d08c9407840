//! `cargo xtask vm shell`: a terminal inside.

use super::{Inside, Options, Through, drive::Tests, job};
use crate::workspace;
use anyhow::{Context as _, Result, ensure};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::{
    io::{self, IsTerminal as _},
    process::{Command, Stdio},
};

pub(super) fn run(options: &Options) -> Result<u8> {
    ensure!(io::stdin().is_terminal(), "a shell needs a terminal; `cargo xtask vm run -- COMMAND` does not");
    let (mut inside, _) = Inside::enter(options, Tests::None)?;
    let mut job = job(vec!["bash".into(), "-l".into()], workspace::root().to_owned(), options);
    job.terminal = Some(size().unwrap_or((24, 80)));
    let raw = Raw::enter()?;
    let status = inside.run(job, true, &mut Through);
    drop(raw);
    inside.leave();
    status
}

/// Rows and columns of this terminal.
fn size() -> Option<(u16, u16)> {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (rows, columns) = text.trim().split_once(' ')?;
    Some((rows.parse().ok()?, columns.parse().ok()?))
}

/// This terminal passes every key on, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("cannot ask the terminal")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).context("cannot set the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
