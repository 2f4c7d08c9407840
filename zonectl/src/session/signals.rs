//! Signals that concern a session.

use std::task::Poll;

use anyhow::{Context, Result};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind};

/// A set of signals as a stream.
#[derive(Debug)]
pub(crate) struct Signals {
    watched: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Watches these, but for those that were ignored when zonectl was started (`nohup`, a job in the
    /// background of a script): they stay so.
    pub(crate) fn watch(signals: &[Signal]) -> Result<Self> {
        let ignored = ignored();
        let mut watched = Vec::new();
        for signal in signals {
            let raw = signal.as_raw();
            if ignored >> (raw - 1) & 1 == 0 {
                watched.push((
                    *signal,
                    unix::signal(SignalKind::from_raw(raw)).context("cannot watch signals")?,
                ));
            }
        }
        Ok(Self { watched })
    }

    /// Next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, stream) in &mut self.watched {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Signals this process ignores, as the mask of proc(5).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// Stops this process, as the signal it has caught would have; returns when it is continued.
pub(crate) fn stop() {
    // A process may always stop itself.
    let _ = kill_process(getpid(), Signal::STOP);
}

/// The number as packets carry it.
pub(crate) fn number(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watched_signal_comes_and_an_ignored_one_stays_ignored() {
        // Rust's runtime ignores SIGPIPE from the start.
        let mut signals = Signals::watch(&[Signal::PIPE, Signal::USR1]).unwrap();
        assert_eq!(signals.watched.len(), 1);
        kill_process(getpid(), Signal::USR1).unwrap();
        assert_eq!(signals.next().await, Signal::USR1);
    }
}
