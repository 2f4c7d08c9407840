//! A host, an outside, and traffic between them and zones.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use zone_tests::{Netns, TestCtx, wait::patiently};

/// How long something that must not come may take to come.
const NEVER: Duration = Duration::from_millis(300);

/// How long something that must come may take.
const SOON: Duration = Duration::from_secs(5);

/// A daemon on a host with an uplink `up0` (192.0.2.1, 2001:db8::1) to an outside (.2, ::2).
pub struct Scene {
    pub ctx: TestCtx,
    pub outside: Netns,
}

impl Scene {
    pub fn new(options: &[&str]) -> Self {
        let (host, outside) = (Netns::new(), Netns::new());
        host.ip(&format!("link add up0 type veth peer name eth0 netns {}", outside.path()));
        for (netns, link, n) in [(&host, "up0", 1), (&outside, "eth0", 2)] {
            netns.ip(&format!("address add 192.0.2.{n}/24 dev {link}"));
            netns.ip(&format!("address add 2001:db8::{n}/64 dev {link} nodad"));
            netns.ip(&format!("link set {link} up"));
        }
        let mut all = vec!["--network", "10.77.0.0/16", "--network6", "fd77::/64"];
        all.extend(options);
        Self { ctx: TestCtx::with(Some(host), &all), outside }
    }

    pub fn host(&self) -> &Netns {
        self.ctx.netns.as_ref().unwrap()
    }

    /// The namespace of a zone that runs.
    pub fn zone(&self, name: &str) -> Netns {
        Netns::of(self.ctx.info(name)["init_pid"].as_u64().unwrap())
    }

    /// A zone's addresses: IPv4, IPv6.
    pub fn addresses(&self, name: &str) -> [IpAddr; 2] {
        self.addresses_of(name, 0)
    }

    /// Those of one of its interfaces.
    pub fn addresses_of(&self, name: &str, interface: usize) -> [IpAddr; 2] {
        let info = self.ctx.info(name);
        let all = info["network"][interface]["addresses"].as_array().unwrap();
        let ip = |i: usize| all[i].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
        [ip(0), ip(1)]
    }

    /// What nft shows of the rules.
    pub fn rules(&self) -> String {
        let mut nft = Command::new("/usr/sbin/nft");
        nft.args(["list", "ruleset"]);
        self.host().run(nft).ok()
    }
}

/// Whether a TCP connection carries a word there and back, and from where the server saw it come.
pub fn tcp(from: &Netns, to: &Netns, dial: SocketAddr, listen: SocketAddr) -> Option<IpAddr> {
    let server = to.within(|| TcpListener::bind(listen)).unwrap();
    let patience = patiently(SOON.min(NEVER * 4));
    let mut client = from.within(|| TcpStream::connect_timeout(&dial, patience)).ok()?;
    let (mut accepted, peer) = server.accept().unwrap();
    client.set_read_timeout(Some(patiently(SOON))).unwrap();
    accepted.set_read_timeout(Some(patiently(SOON))).unwrap();
    client.write_all(b"ping").unwrap();
    let mut word = [0; 4];
    accepted.read_exact(&mut word).unwrap();
    accepted.write_all(&word).unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ping");
    Some(peer.ip())
}

/// Whether a datagram arrives, and its answer.
pub fn udp(from: &Netns, to: &Netns, dial: SocketAddr, listen: SocketAddr) -> Option<IpAddr> {
    let server = to.within(|| UdpSocket::bind(listen)).unwrap();
    server.set_read_timeout(Some(patiently(NEVER))).unwrap();
    let any: SocketAddr = if dial.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
    let client = from.within(|| UdpSocket::bind(any)).unwrap();
    client.set_read_timeout(Some(patiently(SOON))).unwrap();
    client.send_to(b"ping", dial).ok()?;
    let mut word = [0; 4];
    let (_, peer) = server.recv_from(&mut word).ok()?;
    server.send_to(&word, peer).unwrap();
    client.recv_from(&mut word).ok().map(|_| peer.ip())
}

/// Both protocols to the same place.
pub fn both(from: &Netns, to: &Netns, ip: IpAddr, port: u16) -> [bool; 2] {
    let at = SocketAddr::new(ip, port);
    [tcp(from, to, at, at).is_some(), udp(from, to, at, at).is_some()]
}
