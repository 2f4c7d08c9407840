//! Saying what goes on: a line that moves on a terminal, plain lines elsewhere.
//!
//! A [`logged`] command's own output goes to a file; a person sees its last line move, and the end of the file
//! when the command fails.

use crate::workspace;
use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    fs::{self, File},
    io::{IsTerminal as _, Read as _, Seek as _, SeekFrom},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(100);
/// How much of a log is shown when a command fails.
const TAIL_LINES: usize = 40;

/// Runs a command with its output in `target/xtask/LOG`, under a title.
pub(crate) fn logged(title: &str, log: &str, command: &mut Command) -> Result<()> {
    let path = workspace::root().join("target/xtask").join(log);
    let folder = path.parent().unwrap_or(workspace::root());
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let begun = Instant::now();
    let line = Line::new(title);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        line.show(&path);
        thread::sleep(POLL);
    };
    if !status.success() {
        line.end(title, "failed", begun);
        bail!("{title} failed ({status}); the end of {}:\n{}", path.display(), tail(&path, TAIL_LINES));
    }
    line.end(title, "done", begun);
    Ok(())
}

/// A duration as a person says it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// A duration in the unit that suits it.
pub(crate) fn brief(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { format!("{} ms", duration.as_millis()) } else { seconds(duration) }
}

/// The line of a step: moving on a terminal, otherwise one line at its begin and one at its end.
enum Line {
    Moving(ProgressBar),
    Plain,
}

impl Line {
    fn new(title: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("{title} ...");
            return Self::Plain;
        }
        let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(POLL);
        Self::Moving(bar)
    }

    fn show(&self, log: &Path) {
        if let Self::Moving(bar) = self {
            bar.set_message(tail(log, 1));
        }
    }

    fn end(&self, title: &str, how: &str, begun: Instant) {
        if let Self::Moving(bar) = self {
            bar.finish_and_clear();
        }
        eprintln!("{title}: {how} in {}", seconds(begun.elapsed()));
    }
}

/// The last lines of a log, without the control characters that programs write for terminals.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    const BYTES_A_LINE: u64 = 400;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES_A_LINE * lines as u64)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
    let last = all[all.len().saturating_sub(lines)..].join("\n");
    last.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_with_its_last_lines_and_no_control_characters() {
        let dir = std::env::temp_dir().join(format!("xtask-tail-{}", std::process::id()));
        fs::write(&dir, "first\nsecond\r\n\x1b[1mthird\x1b[0m\n").unwrap();
        assert_eq!(tail(&dir, 2), "second\n [1mthird [0m");
        assert_eq!(tail(&dir, 9), "first\nsecond\n [1mthird [0m");
        fs::remove_file(&dir).unwrap();
        assert_eq!(tail(&dir, 1), "");
    }
}
