//! The packets of a session socket (`SOCK_SEQPACKET`, one JSON object each).

use std::{
    io,
    os::{fd::OwnedFd, unix::net},
};

use anyhow::{Context, Result};
use tokio::net::UnixDatagram;
use zoned_api::session::{FromSession, MAX_PACKET, ToSession};

/// The client's end of a session socket.
#[derive(Debug)]
pub(crate) struct Channel {
    /// recv(2) and send(2) keep the bounds of packets on a `SOCK_SEQPACKET` socket as on a datagram one; only
    /// that its end shows, as an empty packet.
    socket: UnixDatagram,
}

impl Channel {
    /// Takes over a session socket.
    pub(crate) fn new(socket: OwnedFd) -> Result<Self> {
        let socket = net::UnixDatagram::from(socket);
        socket.set_nonblocking(true).context("session socket")?;
        Ok(Self { socket: UnixDatagram::from_std(socket).context("session socket")? })
    }

    /// Next packet; none if the other end is gone.
    pub(crate) async fn next(&self) -> Result<Option<FromSession>> {
        let mut buffer = vec![0; MAX_PACKET];
        match self.socket.recv(&mut buffer).await {
            Ok(0) => Ok(None),
            Ok(n) => {
                Ok(Some(serde_json::from_slice(&buffer[..n]).context("the session sent what is no packet")?))
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(e) => Err(e).context("session socket"),
        }
    }

    /// Sends a packet. A session that has ended needs it no more: that is told by [`Channel::next`].
    pub(crate) async fn send(&self, packet: &ToSession) -> Result<()> {
        match self.socket.send(&serde_json::to_vec(packet)?).await {
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                Ok(())
            }
            done => done.map(drop).context("session socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

    use super::*;

    fn pair() -> (Channel, OwnedFd) {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        (Channel::new(a).unwrap(), b)
    }

    #[tokio::test]
    async fn packets_both_ways_and_then_the_end() {
        let (channel, monitor) = pair();
        channel.send(&ToSession::Signal { signal: 15 }).await.unwrap();
        let mut buffer = [0; 200];
        let n = recv(&monitor, &mut buffer[..], RecvFlags::empty()).unwrap().0;
        assert_eq!(&buffer[..n], br#"{"do":"signal","signal":15}"#);
        send(&monitor, br#"{"is":"ended","code":7}"#, SendFlags::empty()).unwrap();
        drop(monitor);
        assert_eq!(channel.next().await.unwrap(), Some(FromSession::Ended { code: 7, why: None }));
        assert_eq!(channel.next().await.unwrap(), None);
        channel.send(&ToSession::Signal { signal: 2 }).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_packet_is_an_error() {
        let (channel, monitor) = pair();
        send(&monitor, b"{\"is\":", SendFlags::empty()).unwrap();
        assert!(channel.next().await.is_err());
    }
}
