//! The transport under zlink: Unix sockets, with messages of a bounded size.
//!
//! zlink has a transport of its own, which takes descriptors without close-on-exec: whatever this daemon started while
//! a call is under way would hold a client's pipes open.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use tokio::{
    io::Interest,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use zlink::connection::{
    Connection, PassedCredentials, ReadConnection,
    socket::{ReadHalf, ReadResult, Socket, WriteHalf},
};

/// Largest message taken from a client, in bytes: a configuration and its base, escaped, fit well.
const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// Most descriptors that come or go with one piece of a message; the kernel closes what there are more of.
const MAX_FDS: usize = 8;

/// Reads the calls of one connection.
pub(super) type Calls = ReadConnection<BoundedRead>;

/// Both ends of a connection.
pub(super) fn split(stream: UnixStream) -> (Calls, Replies) {
    let (calls, replies) = Connection::new(Bounded(stream)).split();
    (calls, replies.into_write_half())
}

/// A socket whose read half gives up on a message that is too large.
#[derive(Debug)]
pub(super) struct Bounded(UnixStream);

/// See [`Bounded`].
#[derive(Debug)]
pub(super) struct BoundedRead {
    half: OwnedReadHalf,
    /// Bytes read since the last message ended.
    since_end: usize,
}

/// Writes the replies of one connection.
///
/// zlink's own writer makes a message again and again in a buffer that grows by 256 bytes; a whole one is handed
/// to the socket here.
#[derive(Debug)]
pub(super) struct Replies(OwnedWriteHalf);

impl Socket for Bounded {
    type ReadHalf = BoundedRead;
    type WriteHalf = Replies;

    const CAN_TRANSFER_FDS: bool = true;

    fn split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        let (half, write) = self.0.into_split();
        (BoundedRead { half, since_end: 0 }, Replies(write))
    }
}

impl ReadHalf for BoundedRead {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink::Result<ReadResult> {
        let stream: &UnixStream = self.half.as_ref();
        let (count, fds) = stream.async_io(Interest::READABLE, || receive(stream, buffer)).await?;
        let got = buffer.get(..count).unwrap_or_default();
        self.since_end = match got.iter().rposition(|b| *b == 0) {
            Some(end) => got.len() - end - 1,
            None => self.since_end + got.len(),
        };
        if self.since_end > MAX_MESSAGE {
            return Err(zlink::Error::BufferOverflow);
        }
        Ok(ReadResult::new(count).set_fds(fds))
    }
}

impl WriteHalf for Replies {
    async fn write(
        &mut self,
        bytes: &[u8],
        fds: &[impl AsFd],
        _: Option<&PassedCredentials>,
    ) -> zlink::Result<()> {
        let stream: &UnixStream = self.0.as_ref();
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let (mut left, mut fds) = (bytes, fds.as_slice());
        while !left.is_empty() {
            let count = stream.async_io(Interest::WRITABLE, || transmit(stream, left, fds)).await?;
            // They go with the first byte.
            (left, fds) = (left.get(count..).unwrap_or_default(), &[]);
        }
        Ok(())
    }
}

impl Replies {
    /// Sends one message, with descriptors.
    pub(super) async fn send(&mut self, message: &impl Serialize, fds: &[OwnedFd]) -> zlink::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(0);
        self.write(&bytes, fds, None).await
    }
}

/// What has come, and the descriptors that came with it; nothing at the end.
fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((got.bytes, rights.flatten().collect()))
}

fn transmit(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}
