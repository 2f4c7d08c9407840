//! What the demo says: chapters, the commands a person would type, and how long each took.

use crate::{daemon::Daemon, progress};
use anyhow::Result;
use std::{
    cell::Cell,
    io::{Write as _, stdout},
    time::Instant,
};

/// Counts the chapters.
#[derive(Default)]
pub(crate) struct Narrator {
    chapter: Cell<u32>,
}

impl Narrator {
    pub(crate) fn chapter(&self, title: &str) {
        self.chapter.set(self.chapter.get() + 1);
        println!("\n== {}. {title}", self.chapter.get());
    }

    pub(crate) fn say(&self, text: &str) {
        println!("{text}");
    }

    /// Types a zonectl command, which must succeed; what it printed. Its time stands behind it.
    pub(crate) fn types(&self, daemon: &Daemon, args: &[&str]) -> Result<String> {
        print!("$ zonectl {}", shell_words(args));
        // It is shown before it is done: it may take a while.
        let _ = stdout().flush();
        let begun = Instant::now();
        let done = daemon.ask(args);
        println!("    # {}", progress::brief(begun.elapsed()));
        done
    }
}

/// Arguments as a shell would take them.
fn shell_words(args: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%@+".contains(c);
    let quoted = args.iter().map(|arg| match !arg.is_empty() && arg.chars().all(plain) {
        true => (*arg).to_owned(),
        false => format!("'{}'", arg.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        assert_eq!(
            shell_words(&["exec", "web", "--", "sh", "-c", "echo it's"]),
            r"exec web -- sh -c 'echo it'\''s'"
        );
    }
}
