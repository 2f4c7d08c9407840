//! One JSON object a packet, with descriptors, over `SOCK_SEQPACKET`.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
        socketpair,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::protocol::MAX_PACKET;

/// Most descriptors in one packet.
const MAX_FDS: usize = 4;

/// Both ends of a packet socket, close-on-exec, blocking.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one packet. On a non-blocking socket whose reader lags: `WouldBlock`, and nothing is sent.
pub fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_PACKET {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` when the other end is closed. What is no packet of this form is `InvalidData`.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut take =
        || recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    // The other end was closed with something unread: told once, ahead of what it had sent before.
    let got = match take() {
        Err(Errno::CONNRESET) => take(),
        got => got,
    }?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "packet too large"));
    }
    Ok(Some((serde_json::from_slice(&bytes[..got.bytes])?, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_with_their_packet() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(&a, &"one", &[write.as_fd()]).unwrap();
        drop((a, write));
        let (text, fds): (String, _) = receive(&b).unwrap().unwrap();
        assert_eq!((text.as_str(), fds.len()), ("one", 1));
        rustix::io::write(&fds[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0u8; 4]).unwrap(), 1);
        assert!(receive::<String>(&b).unwrap().is_none());
    }

    #[test]
    fn half_a_packet_is_an_error_and_no_more() {
        let (a, b) = pair().unwrap();
        rustix::net::send(&a, b"{\"do\":", SendFlags::empty()).unwrap();
        assert_eq!(
            receive::<super::super::protocol::Request>(&b).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        send(&a, &super::super::protocol::Request::Boot, &[]).unwrap();
        assert!(receive::<super::super::protocol::Request>(&b).unwrap().is_some());
    }
}
