//! A command with a terminal of the zone's, joined to the caller's.

use std::{fs::File, os::fd::OwnedFd, thread};

use anyhow::{Context, Result};
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::Signal,
    stdio::{stdin, stdout},
};
use tokio::sync::oneshot;
use zoned_api::{
    Method,
    client::Client,
    session::{ExecSpec, ToSession},
};

use super::{
    Channel, FAILED, ending,
    keys::Keys,
    open, pump,
    pump::{Fed, Patience},
    raw::{self, Raw},
    say,
    signals::{self, Signals},
};

/// Runs a command and returns what to exit with.
pub(crate) async fn run(client: &mut Client, zone: &str, mut spec: ExecSpec) -> Result<u8> {
    spec.size = raw::size();
    if let Ok(term) = std::env::var("TERM") {
        spec.env.entry("TERM".to_owned()).or_insert(term);
    }
    let mut signals = Signals::watch(&WATCHED)?;
    let (socket, master) = open(client, Method::Exec { zone: zone.to_owned(), spec }, Vec::new()).await?;
    let channel = Channel::new(socket)?;
    let Some(master) = master else {
        // It ended before it had a terminal, and says why.
        return ending(zone, channel.next().await?);
    };
    let raw = Raw::enter()?;
    // In raw mode Ctrl-C and Ctrl-Z are typed into the zone: signals come from elsewhere.
    let mut joined = Joined::start(master, Input::Watched, Patience::COMMAND)?;
    let mut feeding = true;
    let last = loop {
        tokio::select! {
            packet = channel.next() => break packet?,
            fed = &mut joined.fed, if feeding => {
                if fed == Ok(Fed::Detached) {
                    drop(raw);
                    say(&format!("\n[detached from zone {zone}]\n"));
                    return Ok(FAILED);
                }
                // The command may still have something to say.
                feeding = false;
            }
            signal = signals.next() => match signal {
                Signal::TERM | Signal::HUP => return Ok(128 + signals::number(signal)),
                Signal::INT | Signal::QUIT => {
                    channel.send(&ToSession::Signal { signal: signals::number(signal) }).await?;
                }
                _ => joined.adapt(signal, &raw),
            }
        }
    };
    joined.finish().await;
    drop(raw);
    ending(zone, last)
}

/// What can end, stop or reshape a terminal's session.
pub(crate) const WATCHED: [Signal; 7] =
    [Signal::WINCH, Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::TSTP, Signal::CONT];

/// What is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing.
    None,
    /// All that comes from stdin.
    Plain,
    /// The same, but for the escape.
    Watched,
}

/// The caller's terminal joined to a terminal's master or a console's socket, by two threads.
#[derive(Debug)]
pub(crate) struct Joined {
    /// How the input ended.
    pub(crate) fed: oneshot::Receiver<Fed>,
    /// The output has ended.
    pub(crate) drained: oneshot::Receiver<()>,
    /// Dropped, it tells the threads that the session has ended.
    end: OwnedFd,
    other: OwnedFd,
}

impl Joined {
    /// Starts the threads.
    pub(crate) fn start(other: OwnedFd, input: Input, patience: Patience) -> Result<Self> {
        let (hung_up, end) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
        let hung_up = File::from(hung_up);
        let (to, from) = (other.try_clone().context("terminal")?, other.try_clone().context("terminal")?);
        let input_hung_up = hung_up.try_clone().context("pipe")?;
        let (tell_fed, fed) = oneshot::channel();
        if input != Input::None {
            let keys = (input == Input::Watched).then(Keys::new);
            thread::spawn(move || {
                let done = pump::feed(stdin(), to, input_hung_up, keys);
                // An input that fails is one that ended: the output may go on.
                tell_fed.send(done.unwrap_or(Fed::All))
            });
        }
        let (tell_drained, drained) = oneshot::channel();
        thread::spawn(move || {
            // Whether it failed or ended, nothing more can be shown.
            let _ = pump::drain(from, stdout(), hung_up, patience);
            tell_drained.send(())
        });
        Ok(Self { fed, drained, end, other })
    }

    /// After the caller was stopped, continued or its terminal reshaped: the terminal is raw again, and the
    /// zone's (if it is one) has the same size, which tells the command by SIGWINCH.
    pub(crate) fn adapt(&self, signal: Signal, raw: &Raw) {
        if signal == Signal::TSTP {
            raw.leave();
            signals::stop();
        }
        if signal != Signal::WINCH {
            // If this fails the terminal is gone, and SIGHUP on its way.
            let _ = raw.again();
        }
        let _ = raw::give_size(&self.other);
    }

    /// After the session's end: waits until what came has been shown.
    pub(crate) async fn finish(self) {
        drop(self.end);
        let _ = self.drained.await;
    }
}
