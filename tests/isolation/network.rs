//! Sockets: a zone has `lo` and nothing else, and the families that have no namespace are closed.

use std::{
    net::{IpAddr, TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use libc::{
    AF_ALG, AF_INET, AF_NETLINK, AF_UNIX, AF_VSOCK, NETLINK_AUDIT, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM,
};

use crate::{
    arena::{Place, shared},
    attempt::{attempt, judge},
    calls::there,
};

const NAMESPACE: &str = "the name is one of the zone's network namespace";
const FAMILY: &str = "the filter: sockets of a family without namespaces";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// struct sockaddr_un of an abstract name, and its length.
fn abstract_name(name: &str) -> String {
    format!("[{}00{}] {}", hex(&(AF_UNIX as u16).to_ne_bytes()), hex(name.as_bytes()), 3 + name.len())
}

fn tcp(address: [u8; 4], port: u16) -> String {
    let family = (AF_INET as u16).to_ne_bytes();
    let address = format!("[{}{}{}] 16", hex(&family), hex(&port.to_be_bytes()), hex(&address));
    format!("socket {AF_INET} {SOCK_STREAM} 0 ; connect $1 {address}")
}

fn unix(name: &str) -> String {
    format!("socket {AF_UNIX} {SOCK_STREAM} 0 ; connect $1 {}", abstract_name(name))
}

/// An address of the host's own, if it has one beside 127.0.0.1.
fn own_address() -> Option<[u8; 4]> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing: the kernel only looks up the way there.
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    }
}

#[test]
fn nothing_of_the_hosts_answers() {
    let arena = shared();
    let name = format!("zone-attack-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut attempts = vec![
        attempt("connect to an abstract socket of the host's", unix(&name))
            .refused("ECONNREFUSED connect", NAMESPACE)
            .but(Place::Host, "ok"),
        attempt("connect to a server of the host's on 127.0.0.1", tcp([127, 0, 0, 1], port))
            .refused("ECONNREFUSED connect", "127.0.0.1 is the zone's own")
            .nested("ENETUNREACH connect")
            .but(Place::Host, "ok"),
        attempt("find the daemon's socket", there(&arena.ctx.socket().display().to_string()))
            .refused("ENOENT openat", "the zone's root is the whole of its mount namespace")
            .but(Place::Host, "ok"),
        attempt("send to the world", tcp([192, 0, 2, 1], 9))
            .refused("ENETUNREACH connect", "there is no route but lo's"),
        attempt("talk to the hypervisor", format!("socket {AF_VSOCK} {SOCK_STREAM} 0"))
            .refused("EAFNOSUPPORT socket", FAMILY)
            .but(Place::Unfiltered, "ok|EAFNOSUPPORT socket")
            .but(Place::Host, "ok|EAFNOSUPPORT socket"),
        attempt("use the kernel's ciphers", format!("socket {AF_ALG} 5 0"))
            .refused("EAFNOSUPPORT socket", FAMILY)
            .but(Place::Host, "ok|EAFNOSUPPORT socket"),
        attempt("talk to the host's audit", format!("socket {AF_NETLINK} {SOCK_RAW} {NETLINK_AUDIT}"))
            .refused("EAFNOSUPPORT socket", "the filter: audit has no namespace")
            .but(Place::Host, "ok|EPROTONOSUPPORT socket"),
        attempt("use a family without use", format!("socket 9 {SOCK_DGRAM} 0"))
            .refused("EAFNOSUPPORT socket", FAMILY),
        attempt("make a network card of its own", there("/dev/net/tun"))
            .refused("ENOENT openat", "/dev is a small tmpfs with the brand's devices")
            .but(Place::Host, "ok|ENOENT openat"),
    ];
    if let Some(address) = own_address() {
        attempts.push(
            attempt("connect to an address of the host's", tcp(address, port))
                .refused("ENETUNREACH connect", "there is no route but lo's")
                .but(Place::Host, "ok"),
        );
    }
    judge(&arena, "a", &attempts);
    let seen = arena.ctx.sh("a", "tail -n +3 /proc/net/dev | cut -d: -f1; cat /proc/net/unix").ok();
    assert!(seen.starts_with("    lo\nNum"), "{seen}");
    assert!(!seen.contains(&name) && std::fs::read_to_string("/proc/net/unix").unwrap().contains(&name));

    // b's sockets: a script that serves for a while (pause), and itself finds it.
    let serve =
        format!("socket {AF_UNIX} {SOCK_STREAM} 0 ; bind $1 {} ; listen $1 5 ; pause", abstract_name("b"));
    let serve = format!("/opt/attack/zone-attack \"{}\" > /dev/null 2>&1 &", serve.replace('$', "\\$"));
    arena.ctx.sh("b", &serve).ok();
    zone_tests::wait::until("b serves", || arena.one(Place::Zone("b"), unix("b")).starts_with("ok"));
    assert_eq!(arena.one(Place::Zone("a"), unix("b")), "ECONNREFUSED connect");
    assert_eq!(arena.one(Place::Host, unix("b")), "ECONNREFUSED connect");
    assert!(arena.one(Place::Zone("b"), unix("b")).starts_with("ok"), "b still serves");
}
