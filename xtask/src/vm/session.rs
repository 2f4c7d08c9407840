//! A conversation with a guest's agent: what is run there, as if it were run here.

use super::frames::{Frame, Guest, Job, Message, greeted};
use anyhow::{Context as _, Result, bail};
use std::{
    io::Read as _,
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Longest for the agent to mount or let go of the drive.
const PLUG_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Session {
    stream: UnixStream,
    frames: Receiver<Result<Frame>>,
    pub(super) guest: Guest,
}

/// Where a command's output goes.
pub(super) trait Sink {
    fn output(&mut self, bytes: &[u8]) -> Result<()>;
    fn errors(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Session {
    /// Waits for the agent's greeting.
    pub(super) fn begin(stream: UnixStream, limit: Duration) -> Result<Self> {
        let mut from = stream.try_clone()?;
        let (to, frames) = mpsc::channel();
        // Ends when the connection does, or when nobody receives any more.
        thread::spawn(move || {
            match greeted(&mut from) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return drop(to.send(Err(error))),
            }
            while let Some(frame) = Frame::read(&mut from).transpose() {
                let last = frame.is_err();
                if to.send(frame).is_err() || last {
                    return;
                }
            }
        });
        match receive(&frames, Some(Instant::now() + limit)).context("no agent greets from inside")? {
            Frame::Message(Message::Hello(guest)) => Ok(Self { stream, frames, guest }),
            other => bail!("the agent began with {other:?}"),
        }
    }

    pub(super) fn plug(&mut self, workspace: &Path) -> Result<()> {
        self.ask(Message::Plug(workspace.to_owned()))
    }

    pub(super) fn unplug(&mut self) -> Result<()> {
        self.ask(Message::Unplug)
    }

    fn ask(&mut self, message: Message) -> Result<()> {
        Frame::Message(message).write(&mut self.stream)?;
        match receive(&self.frames, Some(Instant::now() + PLUG_LIMIT))? {
            Frame::Message(Message::Done) => Ok(()),
            Frame::Message(Message::Failed(why)) => bail!("inside: {why}"),
            other => bail!("the agent answered {other:?}"),
        }
    }

    /// Runs a command to its end and gives its status. With `input`, this program's own is the command's.
    pub(super) fn run(
        &mut self,
        job: Job,
        input: bool,
        deadline: Option<Instant>,
        sink: &mut dyn Sink,
    ) -> Result<u8> {
        Frame::Message(Message::Run(job)).write(&mut self.stream)?;
        if input {
            let mut to = self.stream.try_clone()?;
            // It may wait for input when the command has ended, and then ends with this program.
            thread::spawn(move || forward(&mut to));
        } else {
            Frame::Message(Message::InputEnds).write(&mut self.stream)?;
        }
        loop {
            match receive(&self.frames, deadline)? {
                Frame::Output(bytes) => sink.output(&bytes)?,
                Frame::Errors(bytes) => sink.errors(&bytes)?,
                Frame::Message(Message::Ended(status)) => return Ok(status),
                other => bail!("the agent sent {other:?} while a command ran"),
            }
        }
    }
}

impl Drop for Session {
    /// The thread that reads has the connection too. Its end ends what still runs inside.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn receive(frames: &Receiver<Result<Frame>>, deadline: Option<Instant>) -> Result<Frame> {
    let far = Duration::from_hours(24 * 365);
    let left = deadline.map_or(far, |deadline| deadline.saturating_duration_since(Instant::now()));
    match frames.recv_timeout(left) {
        Ok(frame) => frame,
        Err(RecvTimeoutError::Timeout) => bail!("it took longer than it may"),
        Err(RecvTimeoutError::Disconnected) => bail!("the machine has ended"),
    }
}

fn forward(to: &mut UnixStream) -> Result<()> {
    let mut bytes = vec![0; 4096];
    let mut input = std::io::stdin();
    loop {
        match input.read(&mut bytes)? {
            0 => return Frame::Message(Message::InputEnds).write(to),
            length => Frame::Input(bytes[..length].to_vec()).write(to)?,
        }
    }
}
