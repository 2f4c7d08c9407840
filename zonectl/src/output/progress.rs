//! Progress of something long: a bar on a terminal, a line for each step elsewhere.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Out, escape};

/// How often a bar moves while nothing is heard.
const TICK: Duration = Duration::from_millis(120);

/// Progress of one zone's verb. Gone from the terminal when dropped.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    out: &'a Out,
    zone: String,
    /// Steps are told where there is no terminal for bars.
    lines: bool,
    step: String,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    /// Of what happens to a zone. `lines`: worth a line a step where there is no terminal.
    pub(crate) fn new(out: &'a Out, zone: &str, lines: bool) -> Self {
        Self { out, zone: zone.to_owned(), lines, step: String::new(), bar: None }
    }

    /// A step, and how much of it is done: bytes, and of how many if that is known.
    pub(crate) fn step(&mut self, step: &str, amount: Option<(u64, Option<u64>)>) {
        if self.out.quiet {
            return;
        }
        let new = self.step != step;
        step.clone_into(&mut self.step);
        if io::stderr().is_terminal() {
            self.draw(amount);
        } else if new && self.lines {
            self.out.aside(&format!("zone {}: {}", self.zone, escape::line(step)));
        }
    }

    fn draw(&mut self, amount: Option<(u64, Option<u64>)>) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = self.out.bars.add(ProgressBar::no_length().with_style(style(amount)));
            bar.set_prefix(format!("zone {}", self.zone));
            bar
        });
        bar.set_style(style(amount));
        bar.set_message(escape::line(&self.step));
        match amount {
            Some((done, Some(total))) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Some((done, None)) => bar.set_position(done),
            None => {}
        }
        // Last, since it draws.
        bar.enable_steady_tick(TICK);
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn style(amount: Option<(u64, Option<u64>)>) -> ProgressStyle {
    ProgressStyle::with_template(template(amount)).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn template(amount: Option<(u64, Option<u64>)>) -> &'static str {
    match amount {
        Some((_, Some(_))) => "{prefix}: {msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}",
        Some((_, None)) => "{spinner} {prefix}: {msg} {binary_bytes} {binary_bytes_per_sec}",
        None => "{spinner} {prefix}: {msg} {elapsed}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for amount in [None, Some((1, None)), Some((1, Some(2)))] {
            let made = ProgressStyle::with_template(template(amount));
            assert!(made.is_ok(), "{:?}", made.err());
        }
    }
}
