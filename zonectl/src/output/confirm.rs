//! The question before something is lost.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result};

use super::{escape, failure::hinted};

/// Whether to go on: by `--force`, or by asking on a terminal. Without either it is an error.
///
/// `doing` names verb and object (`deleting zone web`), `lost` what is gone afterwards.
pub(crate) fn confirm(force: bool, doing: &str, lost: &str) -> Result<bool> {
    if force {
        return Ok(true);
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let message = format!("{doing} needs --force when the input is no terminal");
        return Err(hinted(message, "give --force if it may be lost for good"));
    }
    ask(&format!("{} {} Go on? [y/N] ", sentence(doing), lost), &mut stdin.lock())
}

/// Asks a question of the person at the terminal; anything but yes is no.
pub(crate) fn ask(question: &str, answers: &mut impl BufRead) -> Result<bool> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{}", escape::line(question)).and_then(|()| stderr.flush()).context("stderr")?;
    let mut answer = String::new();
    if answers.read_line(&mut answer).context("stdin")? == 0 {
        let _ = writeln!(stderr);
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn sentence(doing: &str) -> String {
    let mut chars = doing.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}:", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [("y\n", true), ("Yes\n", true), ("\n", false), ("", false), ("nope\n", false)] {
            assert_eq!(ask("", &mut answer.as_bytes()).unwrap(), yes, "{answer:?}");
        }
        assert!(confirm(true, "", "").unwrap());
    }
}
