//! What people and programs see: data on stdout, everything about the work on stderr.
//!
//! Text that came from a zone or another user passes through [`escape`] on its way; there is no way around it
//! but the streams of a session, which are the zone's by intent.

pub(crate) mod confirm;
pub(crate) mod escape;
pub(crate) mod failure;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod units;

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressDrawTarget};
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;

use crate::cli::Color;

/// The reader of stdout is gone, which is no failure of ours.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stdout: its reader has closed it")
    }
}

impl std::error::Error for ReaderGone {}

/// Waits until the reader of stdout is gone, which is otherwise only noticed by the next write.
pub(crate) async fn reader_gone() {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Nothing is asked for: only errors and hang-ups are told, and a file has none.
        let stdout = rustix::stdio::stdout();
        let gone = poll(&mut [PollFd::from_borrowed_fd(stdout, PollFlags::empty())], None);
        tell.send(gone)
    });
    if !matches!(told.await, Ok(Ok(_))) {
        std::future::pending::<()>().await;
    }
}

/// Where output goes, and how.
#[derive(Debug)]
pub(crate) struct Out {
    /// Stdout is a terminal.
    pub(crate) terminal: bool,
    /// Stdout gets colours.
    pub(crate) colour: bool,
    /// Only data, warnings and errors.
    pub(crate) quiet: bool,
    /// The bars under way: whoever prints while they stand suspends them.
    pub(crate) bars: MultiProgress,
}

impl Out {
    /// Decides by the options, `NO_COLOR` and what stdout is.
    pub(crate) fn new(color: Color, quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let wanted = match color {
            Color::Always => true,
            Color::Never => false,
            // no-color.org: set and not empty; a dumb terminal knows none.
            Color::Auto => {
                let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { terminal, colour: wanted, quiet, bars }
    }

    /// Width of the terminal at stdout, in columns, if that is one.
    pub(crate) fn width(&self) -> Option<u16> {
        self.terminal.then(table::terminal_width).flatten()
    }

    /// Text of ours, ended by a line feed if it is not.
    pub(crate) fn data(&self, text: &str) -> Result<()> {
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        self.write(format!("{text}{end}").as_bytes())
    }

    /// Text of others: as it is into a file or pipe, escaped for a terminal.
    pub(crate) fn foreign(&self, text: &str) -> Result<()> {
        if self.terminal {
            return self.data(&escape::text(&text.replace("\r\n", "\n")));
        }
        self.write(text.as_bytes())
    }

    /// One JSON document.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<()> {
        self.data(&escape::json(&serde_json::to_string_pretty(value)?))
    }

    /// One JSON object on one line.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<()> {
        self.data(&escape::json(&serde_json::to_string(value)?))
    }

    /// What was done. Work never stops because nobody reads it.
    pub(crate) fn notice(&self, text: &str) {
        if !self.quiet {
            let _ = self.bars.suspend(|| self.data(&escape::line(text)));
        }
    }

    /// Something to know beside the data.
    pub(crate) fn aside(&self, text: &str) {
        if !self.quiet {
            self.stderr(&escape::message(text));
        }
    }

    /// Something that went wrong without ending the work.
    pub(crate) fn warn(&self, text: &str) {
        self.stderr(&format!("zonectl: {}", escape::message(text)));
    }

    /// An error while work on others goes on.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.stderr(failure::render(error).trim_end());
    }

    fn stderr(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
            done => done.context("stdout"),
        }
    }
}
