//! A command whose streams are pipes.

use anyhow::Result;
use rustix::process::Signal;
use zoned_api::{
    Method,
    client::Client,
    session::{ExecSpec, ToSession},
};

use super::{
    Channel, ending, open,
    signals::{self, Signals},
    streams::Streams,
};
use crate::output::failure::hinted;

/// How many times the caller must interrupt until a command that ignores it is left to itself.
const INSISTENCE: u32 = 3;

/// Runs a command and returns what to exit with.
pub(crate) async fn run(client: &mut Client, zone: &str, spec: ExecSpec, no_stdin: bool) -> Result<u8> {
    let forwarded = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TSTP];
    let mut signals = Signals::watch(&forwarded)?;
    let mut streams = Streams::open(no_stdin)?;
    let given = std::mem::take(&mut streams.given);
    let (socket, _) = open(client, Method::Exec { zone: zone.to_owned(), spec }, given).await?;
    let channel = Channel::new(socket)?;
    let pumps = streams.pump()?;
    let mut interrupts = 0;
    let last = loop {
        tokio::select! {
            packet = channel.next() => break packet?,
            signal = signals.next() => {
                interrupts += u32::from(matches!(signal, Signal::INT | Signal::TERM));
                if interrupts == INSISTENCE {
                    return Err(hinted(
                        format!("zone {zone}: the command goes on although it was asked {INSISTENCE} times to end"),
                        format!("`zonectl exec {zone} -- ps` shows it, `zonectl exec {zone} -- kill -9 PID` ends it"),
                    ));
                }
                forward(&channel, signal).await?;
            }
        }
    };
    pumps.finish().await?;
    ending(zone, last)
}

async fn forward(channel: &Channel, signal: Signal) -> Result<()> {
    let send = |signal| ToSession::Signal { signal: signals::number(signal) };
    if signal != Signal::TSTP {
        return channel.send(&send(signal)).await;
    }
    // The command is stopped along with us, by SIGSTOP: its process group is an orphaned one (its parent is in
    // another session), and for those the kernel throws SIGTSTP away.
    channel.send(&send(Signal::STOP)).await?;
    signals::stop();
    channel.send(&send(Signal::CONT)).await
}
