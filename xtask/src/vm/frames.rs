//! What the host and the guest's [agent](super::agent) say to each other, over one serial port.
//!
//! A frame is its kind (one byte), the length of its content (four bytes, little endian) and the content: JSON of a
//! [`Message`], or bytes of a stream. Before its first frame the agent writes [`GREETING`]: whatever lies before that is
//! of an earlier connection.

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    path::PathBuf,
};

pub(super) const GREETING: &[u8] = b"\0zones in a vm\0\x01\n";

/// Longest content; streams are cut far shorter.
const LONGEST: u32 = 1 << 20;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// The guest: it is there, and this is what it is.
    Hello(Guest),
    /// The host: mount the drive of programs here.
    Plug(PathBuf),
    /// The host: let go of the drive, it is about to be made anew.
    Unplug,
    /// The guest: the drive is mounted, or let go of.
    Done,
    /// The guest: it could not be done.
    Failed(String),
    /// The host: run this.
    Run(Job),
    /// The host: the command's input ends here.
    InputEnds,
    /// The guest: the command has ended with this status; nothing of its output follows.
    Ended(u8),
}

/// What a guest says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Guest {
    /// The kernel's release.
    pub(super) release: String,
    /// It can be given a scheduler written in eBPF.
    pub(super) sched_ext: bool,
    /// Controllers of its cgroup2 tree.
    pub(super) controllers: String,
}

/// A command.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) command: Vec<String>,
    pub(super) folder: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
    /// It gets a terminal of this many rows and columns instead of three pipes.
    pub(super) terminal: Option<(u16, u16)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Message(Message),
    Input(Vec<u8>),
    Output(Vec<u8>),
    Errors(Vec<u8>),
}

impl Frame {
    pub(super) fn write(&self, to: &mut impl Write) -> Result<()> {
        let json;
        let (kind, content) = match self {
            Self::Message(message) => {
                json = serde_json::to_vec(message)?;
                (0, &json)
            }
            Self::Input(bytes) => (1, bytes),
            Self::Output(bytes) => (2, bytes),
            Self::Errors(bytes) => (3, bytes),
        };
        let length = u32::try_from(content.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.context("too long for a frame")?;
        let whole = [&[kind], &length.to_le_bytes()[..], content].concat();
        to.write_all(&whole)?;
        Ok(to.flush()?)
    }

    /// The next frame; `None` at the end, between two or in the middle of one.
    pub(super) fn read(from: &mut impl Read) -> Result<Option<Self>> {
        let mut head = [0; 5];
        if !fill(from, &mut head)? {
            return Ok(None);
        }
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        ensure!(length <= LONGEST, "a frame of {length} bytes: the other side speaks something else");
        let mut content = vec![0; length as usize];
        if !fill(from, &mut content)? {
            return Ok(None);
        }
        Ok(Some(match kind {
            0 => Self::Message(serde_json::from_slice(&content).context("a message that is none")?),
            1 => Self::Input(content),
            2 => Self::Output(content),
            3 => Self::Errors(content),
            _ => bail!("a frame of kind {kind}: the other side speaks something else"),
        }))
    }
}

/// Reads up to and with the greeting; false if the end comes first.
pub(super) fn greeted(from: &mut impl Read) -> Result<bool> {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(GREETING) {
        if !fill(from, &mut byte)? {
            return Ok(false);
        }
        seen.push(byte[0]);
    }
    Ok(true)
}

/// False if the end comes first.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let job = Job {
            command: vec!["sh".into(), "-c".into(), "exit 3\n".into()],
            folder: "/".into(),
            environment: BTreeMap::from([("A".into(), "b c".into())]),
            terminal: Some((24, 80)),
        };
        let frames = [
            Frame::Message(Message::Run(job)),
            Frame::Input(vec![0, 255, 10]),
            Frame::Output(Vec::new()),
            Frame::Errors(vec![7; 70_000]),
            Frame::Message(Message::Ended(255)),
        ];
        let mut wire = b"of an earlier connection".to_vec();
        wire.extend(GREETING);
        frames.iter().for_each(|frame| frame.write(&mut wire).unwrap());
        let mut from = wire.as_slice();
        assert!(greeted(&mut from).unwrap());
        for frame in frames {
            assert_eq!(Frame::read(&mut from).unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut from).unwrap(), None);
    }

    #[test]
    fn an_end_in_the_middle_is_an_end_and_nonsense_an_error() {
        let mut wire = Vec::new();
        Frame::Output(b"whole".to_vec()).write(&mut wire).unwrap();
        assert_eq!(Frame::read(&mut &wire[..wire.len() - 1]).unwrap(), None);
        assert!(!greeted(&mut &wire[..]).unwrap());
        for nonsense in [&b"\x00\xff\xff\xff\xff"[..], b"\x09\0\0\0\0", b"\x00\x02\0\0\0{]"] {
            Frame::read(&mut &*nonsense).unwrap_err();
        }
        Frame::Output(vec![0; LONGEST as usize + 1]).write(&mut wire).unwrap_err();
    }
}
