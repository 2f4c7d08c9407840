//! What is the host's own: addresses, and ports that something serves. Asked of the kernel by trying to have them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use zoned_api::config::{Forward, Protocol};

/// Whether a process of the host's serves where a forward is to be.
pub(super) fn serves(forward: &Forward) -> bool {
    let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let addresses = forward.address.map_or(all.to_vec(), |address| vec![address]);
    addresses.into_iter().any(|ip| is_served(SocketAddr::new(ip, forward.listen.get()), forward.protocol))
}

fn is_served(at: SocketAddr, protocol: Protocol) -> bool {
    let tried = match protocol {
        Protocol::Tcp => TcpListener::bind(at).map(drop),
        Protocol::Udp => UdpSocket::bind(at).map(drop),
    };
    tried.is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse)
}

/// Whether an address is one of the host's now.
pub fn has(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_known_by_any_of_its_addresses() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = server.local_addr().unwrap().port().try_into().unwrap();
        let forward = |address: Option<&str>, protocol| Forward {
            listen,
            to: None,
            protocol,
            address: address.map(|ip| ip.parse().unwrap()),
        };
        assert!(serves(&forward(None, Protocol::Tcp)));
        assert!(serves(&forward(Some("127.0.0.1"), Protocol::Tcp)));
        assert!(!serves(&forward(Some("127.0.0.2"), Protocol::Tcp)));
        assert!(!serves(&forward(None, Protocol::Udp)));
        drop(server);
        assert!(!serves(&forward(None, Protocol::Tcp)));
        assert!(has("127.0.0.1".parse().unwrap()) && !has("9.9.9.9".parse().unwrap()));
    }
}
