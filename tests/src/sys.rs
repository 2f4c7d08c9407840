//! System calls that no crate of ours wraps.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

/// A packet socket (packet(7)) of the calling thread's network namespace, bound to a link: whole frames are sent to it by
/// send(2) and received from it by recv(2), those of every protocol.
pub fn packet_socket(link: &str) -> io::Result<OwnedFd> {
    let all = (libc::ETH_P_ALL as u16).to_be();
    let protocol = std::num::NonZeroU32::new(all.into()).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    // SAFETY: a plain structure, for which zeros are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = all;
    address.sll_ifindex = rustix::net::netdevice::name_to_index(&socket, link)? as i32;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: an address of that length, which lives longer than the call.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}
