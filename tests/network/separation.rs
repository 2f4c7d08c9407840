//! Who reaches whom, and who is who.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use crate::scene::{Scene, both, tcp, udp};

const YES: [bool; 2] = [true, true];
const NO: [bool; 2] = [false, false];

#[test]
fn zones_reach_only_whom_they_may() {
    let scene = Scene::new(&[]);
    scene.ctx.boot(
        "zone: a\nnet: [{ allow: [{ to: b, port: 80 }, { to: b, port: 53, protocol: udp }, { to: global, port: 7000 }] }]",
    );
    scene.ctx.boot("zone: b\nnet: [{}]");
    let (host, a, b) = (scene.host(), scene.zone("a"), scene.zone("b"));
    let gateways: [IpAddr; 2] = ["10.77.0.1".parse().unwrap(), "fd77::1".parse().unwrap()];
    for ((to_a, to_b), gateway) in scene.addresses("a").into_iter().zip(scene.addresses("b")).zip(gateways) {
        assert_eq!(both(host, &a, to_a, 4000), YES, "the host reaches its zones: {to_a}");
        assert_eq!(both(&b, host, gateway, 4000), NO, "a zone reaches no service of the host's: {gateway}");
        assert_eq!(both(&a, host, gateway, 7000), [true, false], "but for a port it may: {gateway}");
        assert_eq!(both(&a, &b, to_b, 80), [true, false], "TCP to {to_b}");
        assert_eq!(both(&a, &b, to_b, 53), [false, true], "UDP to {to_b}");
        assert_eq!(both(&a, &b, to_b, 81), NO, "another port of {to_b}");
        assert_eq!(both(&b, &a, to_a, 80), NO, "nothing was allowed the other way: {to_a}");
        // Another address of the host's is its own as well.
        let uplink = if to_a.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap();
        assert_eq!(both(&b, host, uplink, 4000), NO);
    }
    // A program of the zone's own, not only a socket in its namespace.
    let server = host.within(|| std::net::TcpListener::bind("10.77.0.1:7000")).unwrap();
    scene.ctx.zonectl(&["exec", "a", "--", "/bin/bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/7000"]).ok();
    drop(server);
    scene.ctx.finish();
}

#[test]
fn a_zone_cannot_pass_for_another() {
    let scene = Scene::new(&[]);
    scene.ctx.boot("zone: a\nnet: [{ allow: [{ to: global }] }]");
    scene.ctx.boot("zone: b\nnet: [{ allow: [{ to: global }] }]");
    let (host, a) = (scene.host(), scene.zone("a"));
    let dropped = || scene.ctx.json(&["stat", "a"])["stats"][0]["net"]["dropped"]["address"].as_u64();
    for (gateway, stolen) in ["10.77.0.1:7", "[fd77::1]:7"].into_iter().zip(scene.addresses("b")) {
        let gateway: SocketAddr = gateway.parse().unwrap();
        let server = host.within(|| UdpSocket::bind(gateway)).unwrap();
        server.set_read_timeout(Some(zone_tests::wait::patiently(Duration::from_millis(300)))).unwrap();
        let heard = || server.recv_from(&mut [0; 8]).ok().map(|(_, from)| from.ip());
        let own = scene.addresses("a").into_iter().find(|ip| ip.is_ipv4() == gateway.is_ipv4()).unwrap();
        let from = |ip: IpAddr| {
            let socket = a.within(|| UdpSocket::bind(SocketAddr::new(ip, 0))).unwrap();
            socket.send_to(b"x", gateway).unwrap();
        };
        from(own);
        assert_eq!(heard(), Some(own));
        let length = if stolen.is_ipv4() { 32 } else { 128 };
        let nodad = if stolen.is_ipv4() { "" } else { " nodad" };
        a.ip(&format!("address add {stolen}/{length} dev net0{nodad}"));
        let before = dropped();
        from(stolen);
        assert_eq!(heard(), None, "{stolen} is b's");
        assert!(dropped() > before, "a drop is counted");
        a.ip(&format!("address delete {stolen}/{length} dev net0"));
        from(own);
        assert_eq!(heard(), Some(own), "and nothing else has changed");
    }
    // With another hardware address nothing at all is heard of it.
    let gateway: SocketAddr = "10.77.0.1:8".parse().unwrap();
    assert!(udp(&a, host, gateway, gateway).is_some());
    a.ip("link set net0 address 02:00:00:00:00:99");
    assert_eq!(udp(&a, host, gateway, gateway), None);
    assert_eq!(tcp(&a, host, gateway, gateway), None);
    scene.ctx.finish();
}

#[test]
fn a_firewall_that_somebody_takes_away_comes_back() {
    let scene = Scene::new(&[]);
    scene.ctx.boot("zone: a\nnet: [{ allow: [{ to: global, port: 7000 }] }]");
    let (host, a) = (scene.host(), scene.zone("a"));
    let gateway: IpAddr = "10.77.0.1".parse().unwrap();
    assert_eq!(both(&a, host, gateway, 4000), NO);
    // As `systemctl restart nftables` does.
    let mut flush = std::process::Command::new("/usr/sbin/nft");
    flush.args(["flush", "ruleset"]);
    host.run(flush).ok();
    zone_tests::wait::until("the rules are back", || scene.rules().contains("table inet zones-zones0"));
    assert_eq!(both(&a, host, gateway, 4000), NO);
    assert_eq!(both(&a, host, gateway, 7000), [true, false]);
    assert!(scene.ctx.log().contains("taken away by somebody"), "it is said");
    scene.ctx.finish();
}
