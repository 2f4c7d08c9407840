//! A zone's console, joined to the caller's terminal or streams.

use std::{os::fd::OwnedFd, pin::pin};

use anyhow::Result;
use rustix::process::Signal;
use zoned_api::{Method, client::Client};

use super::{
    attached::{Input, Joined, WATCHED},
    open,
    pump::{Fed, Patience},
    raw::Raw,
    say,
    signals::{self, Signals},
};
use crate::output::reader_gone;

/// A stream to the console, from now on.
pub(crate) async fn socket(client: &mut Client, zone: &str) -> Result<OwnedFd> {
    Ok(open(client, Method::Console { zone: zone.to_owned() }, Vec::new()).await?.0)
}

/// Without a terminal: what comes from stdin is typed, and what the console answers is printed. To `follow` is to
/// type nothing, and to go on until the console closes.
pub(crate) async fn streamed(socket: OwnedFd, follow: bool) -> Result<u8> {
    let input = if follow { Input::None } else { Input::Plain };
    let mut joined = Joined::start(socket, input, Patience::CONSOLE)?;
    let mut gone = pin!(reader_gone());
    tokio::select! {
        _ = &mut joined.fed, if !follow => {}
        _ = &mut joined.drained => return Ok(0),
        () = &mut gone => return Ok(0),
    }
    tokio::select! {
        () = joined.finish() => {}
        () = gone => {}
    }
    Ok(0)
}

/// Attaches until the person detaches or the console closes.
pub(crate) async fn run(client: &mut Client, zone: &str) -> Result<u8> {
    let socket = socket(client, zone).await?;
    let mut signals = Signals::watch(&WATCHED)?;
    say(&format!("[attached to the console of zone {zone}; ~. at the start of a line detaches]\n"));
    let raw = Raw::enter()?;
    let mut joined = Joined::start(socket, Input::Watched, Patience::CONSOLE)?;
    let why = loop {
        tokio::select! {
            fed = &mut joined.fed => if fed == Ok(Fed::Detached) {
                break "detached from";
            } else {
                let _ = joined.drained.await;
                break "closed:";
            },
            _ = &mut joined.drained => break "closed:",
            signal = signals.next() => match signal {
                Signal::TSTP | Signal::CONT | Signal::WINCH => joined.adapt(signal, &raw),
                _ => return Ok(128 + signals::number(signal)),
            },
        }
    };
    drop(raw);
    say(&format!("\n[{why} the console of zone {zone}]\n"));
    Ok(0)
}
