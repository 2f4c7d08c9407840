//! Sessions: a command in a zone, or its console, joined to the caller's streams or terminal.
//!
//! ```text
//! piped:     stdin ──▶ pipe ──▶ command ──▶ pipe ──▶ stdout      packets: signals out, the ending in
//! terminal:  stdin ─raw, ~. ──▶ pty's master ──▶ stdout          packets: the ending in
//! console:   stdin ─raw, ~. ──▶ stream socket ──▶ stdout
//! ```
//! The daemon only introduces the two sides: the descriptors lead straight to the zone, so that a session
//! outlives zoned. What a session prints goes to the caller's terminal as it is, like that of ssh(1).

mod attached;
mod channel;
mod console;
mod keys;
mod piped;
mod pump;
mod raw;
mod signals;
mod streams;

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
};

use anyhow::Result;
pub(crate) use attached::run as attached;
pub(crate) use channel::Channel;
pub(crate) use console::{run as console, socket as console_socket, streamed as console_streamed};
pub(crate) use piped::run as piped;
pub(crate) use signals::{Signals, number};
use zoned_api::{
    Method, Reply,
    client::{Client, ClientError},
    session::FromSession,
};

use crate::output::failure::hinted;

/// Exit status of `exec` and `login` when zonectl, zoned or the monitor failed, not the command.
pub(crate) const FAILED: u8 = 125;

/// Calls a method that opens a session: its socket, and the terminal's master where there is one.
pub(crate) async fn open(
    client: &mut Client,
    method: Method,
    given: Vec<OwnedFd>,
) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let (reply, fds) = client.call_with(method, given).await?;
    let Reply::Session { .. } = reply else {
        return Err(crate::daemon::unexpected(&reply));
    };
    let mut fds = fds.into_iter();
    let socket = fds.next().ok_or_else(|| ClientError::Unexpected("a session without its socket".into()))?;
    Ok((socket, fds.next()))
}

/// Says something beside what the zone shows; in one write, so that nothing of the zone's gets in between.
fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Exit status from the last packet of a session; none came if the monitor is gone.
fn ending(zone: &str, last: Option<FromSession>) -> Result<u8> {
    match last {
        Some(FromSession::Ended { code, why: None }) => Ok(code),
        Some(FromSession::Ended { code, why: Some(why) }) => {
            let error = anyhow::anyhow!("zone {zone}: {why}");
            say(&crate::output::failure::render(&error));
            Ok(code)
        }
        None => Err(broken_off(zone)),
    }
}

/// The session socket was closed without a last packet.
pub(crate) fn broken_off(zone: &str) -> anyhow::Error {
    hinted(
        format!("zone {zone}: the session broke off: the zone was halted or its monitor died"),
        format!("`zonectl info {zone}` says how the zone ended"),
    )
}
