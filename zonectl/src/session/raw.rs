//! The caller's terminal in raw mode, given back on every way out.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use rustix::{
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};

/// Raw mode of stdin's terminal, until dropped (unwinding from a panic drops it, too).
#[derive(Debug)]
pub(crate) struct Raw {
    saved: Termios,
}

impl Raw {
    /// Remembers the terminal's mode and makes it raw.
    pub(crate) fn enter() -> Result<Self> {
        let raw = Self { saved: tcgetattr(stdin()).context("terminal")? };
        raw.again()?;
        Ok(raw)
    }

    /// Raw once more, after the caller was stopped and continued.
    pub(crate) fn again(&self) -> Result<()> {
        let mut mode = self.saved.clone();
        mode.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &mode).context("terminal")
    }

    /// Back to what it was. Input nobody has read yet is thrown away: it may be a terminal's answer to something
    /// the zone printed, and would be typed into the caller's shell.
    pub(crate) fn leave(&self) {
        // If this fails the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.saved);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Gives the zone's terminal, by its master, the size of the caller's. A console's socket has none.
pub(crate) fn give_size(master: impl AsFd) -> rustix::io::Result<()> {
    tcsetwinsize(master, tcgetwinsize(stdin())?)
}

/// Rows and columns of the caller's terminal; (0, 0) if it does not know.
pub(crate) fn size() -> (u16, u16) {
    let size = tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout()));
    size.map(|size| (size.ws_row, size.ws_col)).unwrap_or_default()
}
