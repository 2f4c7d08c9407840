//! The transport under zlink: its own Unix socket, with messages of a bounded size.

use std::os::fd::OwnedFd;

use serde::Serialize;
use tokio::net::UnixStream;
use zlink::{
    connection::{
        Connection, PassedCredentials, ReadConnection,
        socket::{ReadHalf, ReadResult, Socket, WriteHalf},
    },
    tokio::unix,
};

/// Largest message taken from a client, in bytes: a configuration and its base, escaped, fit well.
const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// Reads the calls of one connection.
pub(super) type Calls = ReadConnection<BoundedRead>;

/// Writes the replies of one connection.
///
/// zlink's own writer makes a message again and again in a buffer that grows by 256 bytes; a whole one is handed
/// to its socket here.
#[derive(Debug)]
pub(super) struct Replies(<unix::Stream as Socket>::WriteHalf);

/// Both ends of a connection.
pub(super) fn split(stream: UnixStream) -> zlink::Result<(Calls, Replies)> {
    let (calls, replies) = Connection::new(Bounded(unix::Stream::try_from(stream)?)).split();
    Ok((calls, Replies(replies.into_write_half())))
}

impl Replies {
    /// Sends one message, with descriptors.
    pub(super) async fn send(&mut self, message: &impl Serialize, fds: &[OwnedFd]) -> zlink::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(0);
        self.0.write(&bytes, fds, None::<&PassedCredentials>).await
    }
}

/// A socket whose read half gives up on a message that is too large.
#[derive(Debug)]
pub(super) struct Bounded(unix::Stream);

/// See [`Bounded`].
#[derive(Debug)]
pub(super) struct BoundedRead {
    half: <unix::Stream as Socket>::ReadHalf,
    /// Bytes read since the last message ended.
    since_end: usize,
}

impl Socket for Bounded {
    type ReadHalf = BoundedRead;
    type WriteHalf = <unix::Stream as Socket>::WriteHalf;

    const CAN_TRANSFER_FDS: bool = true;

    fn split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        let (half, write) = self.0.split();
        (BoundedRead { half, since_end: 0 }, write)
    }
}

impl ReadHalf for BoundedRead {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink::Result<ReadResult> {
        let result = self.half.read(buffer).await?;
        let got = buffer.get(..result.bytes_read()).unwrap_or_default();
        self.since_end = match got.iter().rposition(|b| *b == 0) {
            Some(end) => got.len() - end - 1,
            None => self.since_end + got.len(),
        };
        if self.since_end > MAX_MESSAGE { Err(zlink::Error::BufferOverflow) } else { Ok(result) }
    }
}
