//! A zone's console, joined to the caller's terminal or streams.

use std::io::IsTerminal;

use anyhow::Result;
use rustix::process::Signal;
use zoned_api::{Method, client::Client};

use super::{
    attached::{Joined, WATCHED},
    keys::Keys,
    open,
    pump::Fed,
    raw::Raw,
    signals::{self, Signals},
};

/// Attaches until the person detaches or the console closes.
pub(crate) async fn run(client: &mut Client, zone: &str) -> Result<u8> {
    let (socket, _) = open(client, Method::Console { zone: zone.to_owned() }, Vec::new()).await?;
    if !std::io::stdin().is_terminal() {
        // What comes from a pipe or a file is typed; watching goes on when it has ended.
        let joined = Joined::start(socket, None)?;
        let _ = joined.drained.await;
        return Ok(0);
    }
    let mut signals = Signals::watch(&WATCHED)?;
    eprintln!("[attached to the console of zone {zone}; ~. at the start of a line detaches]");
    let raw = Raw::enter()?;
    let mut joined = Joined::start(socket, Some(Keys::new()))?;
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
    eprintln!("\n[{why} the console of zone {zone}]");
    Ok(0)
}
