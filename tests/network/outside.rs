//! The way out, and the way in by a forwarded port.

use std::net::{IpAddr, SocketAddr};

use crate::scene::{Scene, tcp, udp};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn out_by_permission_and_in_by_forwards() {
    let scene = Scene::new(&["--uplink", "up0", "--bridge", "ztbr0"]);
    let forwarding = |link: &str| {
        scene.host().within(|| {
            let read = |file: String| std::fs::read_to_string(file).unwrap().trim().to_owned();
            [
                read(format!("/proc/sys/net/ipv4/conf/{link}/forwarding")),
                read("/proc/sys/net/ipv4/ip_forward".into()),
            ]
        })
    };
    assert_eq!(forwarding("up0"), ["0", "0"], "nothing is switched on before a zone needs it");
    scene.ctx.boot(
        "zone: a\nnet: [{ allow: [{ to: outside }], forward: [{ listen: 8080, to: 80 }, { listen: 53, to: 5353, protocol: udp }] }]",
    );
    scene.ctx.boot("zone: b\nnet: [{}]");
    assert_eq!(forwarding("up0"), ["1", "0"], "on the uplink alone");
    let (host, outside, a, b) = (scene.host(), &scene.outside, scene.zone("a"), scene.zone("b"));

    for (there, uplink) in [("192.0.2.2:99", "192.0.2.1"), ("[2001:db8::2]:99", "2001:db8::1")] {
        let (there, uplink): (_, IpAddr) = (at(there), uplink.parse().unwrap());
        assert_eq!(tcp(&a, outside, there, there), Some(uplink), "behind the host's address");
        assert_eq!(udp(&a, outside, there, there), Some(uplink));
        assert_eq!(tcp(&b, outside, there, there), None, "b may not");
        assert_eq!(udp(&b, outside, there, there), None);
    }

    for (v4, own) in [true, false].into_iter().zip(scene.addresses("a")) {
        let (web, dns) = (SocketAddr::new(own, 80), SocketAddr::new(own, 5353));
        let (host_web, host_dns, far) = if v4 {
            (at("192.0.2.1:8080"), at("192.0.2.1:53"), "192.0.2.2")
        } else {
            (at("[2001:db8::1]:8080"), at("[2001:db8::1]:53"), "2001:db8::2")
        };
        let far: IpAddr = far.parse().unwrap();
        assert_eq!(tcp(outside, &a, host_web, web), Some(far), "the zone sees who it is");
        assert_eq!(udp(outside, &a, host_dns, dns), Some(far));
        assert!(tcp(host, &a, host_web, web).is_some(), "from the host itself");
        assert!(tcp(&b, &a, host_web, web).is_none(), "a forward is no way round what b may");
        // The kernel sends nothing from ::1 over a link; for IPv4 it can be told to (route_localnet).
        if v4 {
            assert!(tcp(host, &a, at("127.0.0.1:8080"), web).is_some(), "from 127.0.0.1");
        }
        assert!(tcp(outside, &a, web, web).is_none(), "the zones' network is no route of the outside's");
    }
    // With a route to it, the firewall still stands.
    outside.ip("route add 10.77.0.0/16 via 192.0.2.1");
    let web = SocketAddr::new(scene.addresses("a")[0], 80);
    assert!(tcp(outside, &a, web, web).is_none());

    let Scene { ctx, .. } = scene;
    let host = zone_tests::Netns::of(u64::from(ctx.daemon_pid()));
    ctx.finish();
    let left = host.within(|| std::fs::read_to_string("/proc/sys/net/ipv4/conf/up0/forwarding")).unwrap();
    assert_eq!(left.trim(), "0", "put back");
    let links = host.ip("-brief link");
    assert!(!links.contains("ztbr0"), "{links}");
    let mut nft = std::process::Command::new("/usr/sbin/nft");
    nft.args(["list", "ruleset"]);
    assert_eq!(host.run(nft).ok(), "");
}
