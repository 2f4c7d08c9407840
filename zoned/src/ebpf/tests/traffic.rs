//! A zone's link, guarded and counted: between two network namespaces of the test's, one of which plays the host.

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::mpsc,
    thread,
    time::Duration,
};

use aya::maps::{Array, Map, MapData};
use zone_ebpf_abi::{LAYOUT, Meta, names};

use super::host::{Host, Zone, go, wait_until};
use crate::{
    ebpf::{Guarded, Interfaces, Kernel, Traffic, open_map, pins::Pins},
    network::netlink::{Netlink, Peer},
    sys::namespace::{enter_one, unshare},
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const HOST: &str = "10.9.0.1";
const OWN: &str = "10.9.0.2";
const STOLEN: &str = "10.9.0.3";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Takes the calling thread into a network namespace of its own.
fn fresh() -> OwnedFd {
    unshare(libc::CLONE_NEWNET).unwrap();
    // It would talk by itself.
    let _ = fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    fs::File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// The other end of a link, in a thread of its own for as long as the test wants something sent from there.
struct Far(mpsc::Sender<(IpAddr, mpsc::Sender<()>)>);

impl Far {
    fn send_from(&self, source: &str) {
        let (done, wait) = mpsc::channel();
        self.0.send((ip(source), done)).unwrap();
        wait.recv().unwrap();
    }
}

/// A veth from here to there, with addresses; its end here is not up yet. Returns its number.
fn link(far: &OwnedFd) -> u32 {
    let mut netlink = Netlink::open().unwrap();
    let peer = Peer { name: "zone", mac: zoned_api::config::Mac(MAC), inside: far };
    netlink.add_veth("host", 0, peer).unwrap();
    let number = netlink.index("host").unwrap().unwrap();
    netlink.add_address(number, format!("{HOST}/24").parse().unwrap()).unwrap();
    number
}

fn far_end(inside: &OwnedFd) -> Far {
    let inside = inside.try_clone().unwrap();
    let (sender, wanted) = mpsc::channel::<(IpAddr, mpsc::Sender<()>)>();
    let (ready, wait) = mpsc::channel();
    thread::spawn(move || {
        enter_one(inside.as_fd(), libc::CLONE_NEWNET).unwrap();
        let mut netlink = Netlink::open().unwrap();
        let number = netlink.index("zone").unwrap().unwrap();
        for own in [OWN, STOLEN] {
            netlink.add_address(number, format!("{own}/24").parse().unwrap()).unwrap();
        }
        netlink.up(number, "").unwrap();
        ready.send(()).unwrap();
        for (source, done) in wanted {
            let socket = UdpSocket::bind(SocketAddr::new(source, 0)).unwrap();
            socket.send_to(b"hello", (HOST, 9)).unwrap();
            done.send(()).unwrap();
        }
    });
    wait.recv().unwrap();
    Far(sender)
}

/// Packets and bytes that the kernel says went by the host's end: received, sent.
fn by_kernel() -> [u64; 4] {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = text.lines().find_map(|l| l.trim().strip_prefix("host:")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
    [numbers[1], numbers[0], numbers[9], numbers[8]]
}

/// The same as the programs say it.
fn by_ebpf(traffic: &Traffic) -> [u64; 4] {
    let sum = |mut way: zone_ebpf_abi::ByProtocol| {
        zone_ebpf_abi::Protocol::ALL.into_iter().fold((0, 0), |(packets, bytes), (protocol, _)| {
            let traffic = way.of(protocol);
            (packets + traffic.packets, bytes + traffic.bytes)
        })
    };
    let ((a, b), (c, d)) = (sum(traffic.sent), sum(traffic.received));
    [a, b, c, d]
}

fn net(zone: &Zone, kernel: &mut Kernel) -> Traffic {
    zone.figures(kernel).net
}

/// Does `work` in a thread whose network namespace plays the host.
fn on_a_host(work: impl FnOnce(&Host) + Send) {
    let Some(host) = Host::new() else { return };
    thread::scope(|scope| {
        let done = scope.spawn(|| {
            fresh();
            work(&host);
        });
        done.join().unwrap();
    });
}

#[test]
fn a_link_is_guarded_and_counted_by_whoever_is_the_daemon() {
    on_a_host(|host| {
        let inside = thread::spawn(fresh).join().unwrap();
        let number = link(&inside);
        let far = far_end(&inside);
        let here = UdpSocket::bind((HOST, 9)).unwrap();
        here.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let heard = || here.recv_from(&mut [0; 16]).ok().map(|(_, from)| from.ip());

        let mut kernel = host.open();
        let zone = host.zone();
        kernel.assign(zone.uuid, zone.id).unwrap();
        let guarded = Guarded { number, name: "host".into(), mac: MAC, addresses: vec![ip(OWN)] };
        Netlink::open().unwrap().up(number, "").unwrap();
        far.send_from(STOLEN);
        assert_eq!(heard(), Some(ip(STOLEN)), "whoever is not guarded can do it");
        let missed = by_kernel();
        kernel.guard(zone.uuid, &guarded).unwrap();

        let check = |kernel: &mut Kernel, word: &str| {
            let before = net(&zone, kernel);
            far.send_from(OWN);
            assert_eq!(heard(), Some(ip(OWN)), "{word}");
            let between = net(&zone, kernel);
            assert!(between.sent.udp.packets > before.sent.udp.packets, "{word}");
            assert_eq!(between.dropped.address, before.dropped.address, "{word}");
            far.send_from(STOLEN);
            assert_eq!(heard(), None, "{word}");
            let after = net(&zone, kernel);
            assert!(after.dropped.address > between.dropped.address, "{word}: {after:?}");
            after
        };
        check(&mut kernel, "at first");
        drop(kernel);
        // Nobody there.
        far.send_from(STOLEN);
        assert_eq!(heard(), None);
        let mut kernel = host.open();
        let before = check(&mut kernel, "with another daemon");
        drop(kernel);

        // Another build with the same maps.
        let pins = Pins::open(&host.options.pins).unwrap();
        let mut meta: Array<MapData, Meta> = open_map(&pins, names::META, Map::Array).unwrap();
        let as_it_is = meta.get(&0, 0).unwrap();
        meta.set(0, Meta { build: [7; 32], ..as_it_is }, 0).unwrap();
        let mut kernel = host.open();
        assert_eq!(net(&zone, &mut kernel), before);
        kernel.guard(zone.uuid, &guarded).unwrap();
        check(&mut kernel, "another build");
        let seen: Vec<u64> = by_kernel().iter().zip(missed).map(|(now, before)| now - before).collect();
        assert_eq!(by_ebpf(&net(&zone, &mut kernel)).to_vec(), seen, "not a packet was missed");
        let before = net(&zone, &mut kernel);
        drop(kernel);

        // Another layout: what is guarded is told again.
        let ours = host.options.pins.join(format!("layout-{LAYOUT}"));
        fs::rename(&ours, host.options.pins.join("layout-0")).unwrap();
        let mut kernel = host.open();
        far.send_from(STOLEN);
        assert_eq!(heard(), None, "the old programs stand meanwhile");
        kernel.guard(zone.uuid, &guarded).unwrap();
        let after = check(&mut kernel, "another layout");
        assert!(
            after.received.arp.packets >= before.received.arp.packets
                && after.sent.udp.packets > before.sent.udp.packets
        );

        kernel.release(zone.uuid).unwrap();
        assert_eq!((kernel.links.keys().count(), kernel.addresses.keys().count()), (0, 0));
        far.send_from(OWN);
        assert_eq!(heard(), None, "from a link that is forgotten nothing comes any more");
    });
}

#[test]
fn an_interface_of_nobody_sends_nothing() {
    on_a_host(|host| {
        let inside = thread::spawn(fresh).join().unwrap();
        let number = link(&inside);
        let far = far_end(&inside);
        let here = UdpSocket::bind((HOST, 9)).unwrap();
        here.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut kernel = host.open();
        let zone = host.zone();
        kernel.assign(zone.uuid, zone.id).unwrap();
        let guarded = Guarded { number, name: "host".into(), mac: MAC, addresses: vec![ip(OWN)] };
        kernel.guard(zone.uuid, &guarded).unwrap();
        Netlink::open().unwrap().up(number, "").unwrap();
        kernel.forget_policy(|_, _| true).unwrap();
        far.send_from(OWN);
        assert!(here.recv_from(&mut [0; 16]).is_err());
        kernel.guard(zone.uuid, &guarded).unwrap();
        // Who was not answered asks again after a second.
        assert!(wait_until(Duration::from_secs(10), || {
            far.send_from(OWN);
            here.recv_from(&mut [0; 16]).is_ok()
        }));
    });
}

#[test]
fn sockets_are_counted_but_not_what_stays_on_the_loopback() {
    on_a_host(|host| {
        let inside = thread::spawn(fresh).join().unwrap();
        let number = link(&inside);
        let _far = far_end(&inside);
        let mut netlink = Netlink::open().unwrap();
        netlink.up(1, "").unwrap();
        netlink.up(number, "").unwrap();
        let mut kernel = host.open();
        let zone = host.zone();
        kernel.assign(zone.uuid, zone.id).unwrap();
        kernel
            .count_sockets(
                zone.uuid,
                &host.options.zones_cgroup.join(format!("{}.1", zone.uuid)),
                Interfaces::All,
            )
            .unwrap();
        let send = |to: &str| {
            // A socket is of the group its maker is in.
            let script = format!("printf hello | timeout 5 bash -c 'cat > /dev/udp/{to}/9'");
            let mut shells = [zone.shell("payload", &script)];
            go(&mut shells);
            assert!(shells[0].wait().unwrap().success());
        };
        send("127.0.0.1");
        assert_eq!(net(&zone, &mut kernel).sent.udp.packets, 0);
        send(OWN);
        let counted = net(&zone, &mut kernel).sent.udp;
        assert_eq!((counted.packets, counted.bytes), (1, 20 + 8 + 5), "from the IP header on");
        let attached = kernel.attached().unwrap();
        assert_eq!(attached.len(), 2);
        kernel.release(zone.uuid).unwrap();
        assert_eq!((kernel.attached().unwrap().len(), kernel.sockets.keys().count()), (0, 0));
    });
}
