//! Interfaces that are not on the bridge.

use std::net::SocketAddr;

use crate::scene::{Scene, both, tcp, udp};

#[test]
fn none_host_macvlan_and_several() {
    let scene = Scene::new(&[]);
    scene.ctx.boot("zone: n\nnet: [{ mode: none }]");
    let seen = |zone: &str| {
        scene.ctx.sh(zone, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | xargs").ok()
    };
    assert_eq!(seen("n").trim(), "lo");

    scene.ctx.boot("zone: h\nnet: [{ mode: host }]");
    assert!(seen("h").contains("up0"), "{}", seen("h"));
    let changed = scene.ctx.sh("h", "ip link set up0 down || ip address add 192.0.2.77/24 dev up0");
    assert_ne!(changed.code, 0, "the host's network is used, not ruled");

    scene.ctx.boot(
        "zone: m\nnet: [{ mode: macvlan, parent: up0, address: [192.0.2.50/24, '2001:db8::50/64'], gateway: [192.0.2.2] }, \
         { name: inner }]",
    );
    assert_eq!(seen("m").trim(), "inner lo net0");
    let m = scene.zone("m");
    for there in ["192.0.2.2:99", "[2001:db8::2]:99"] {
        let there: SocketAddr = there.parse().unwrap();
        assert!(tcp(&m, &scene.outside, there, there).is_some(), "{there}");
        assert!(udp(&m, &scene.outside, there, there).is_some(), "{there}");
    }
    let inner: SocketAddr = "10.77.0.2:80".parse().unwrap();
    assert!(tcp(scene.host(), &m, inner, inner).is_some());

    scene.ctx.boot("zone: twice\nnet: [{}, { name: second }]");
    assert_eq!(seen("twice").trim(), "lo net0 second");
    // What comes in by the second is answered by it: by the first it would be a stranger's address.
    let twice = scene.zone("twice");
    for ip in (0..2).flat_map(|i| scene.addresses_of("twice", i)) {
        assert_eq!(both(scene.host(), &twice, ip, 81), [true, true], "{ip}");
    }
    assert!(!scene.host().ip("-brief link").contains("macvlan"));
    scene.ctx.finish();
}

#[test]
fn names_are_looked_up_where_the_configuration_says() {
    let scene = Scene::new(&[]);
    scene.ctx.boot("zone: a\nnet: [{}]\nresolver: { servers: [192.0.2.53], search: [zone.example] }");
    let read = || scene.ctx.sh("a", "cat /etc/resolv.conf").ok();
    assert!(read().ends_with("\nnameserver 192.0.2.53\nsearch zone.example\n"), "{}", read());

    // A link of the zone's leads nowhere: it is taken away, not followed.
    let victim = scene.ctx.dir.join("victim");
    std::fs::write(&victim, read()).unwrap();
    let there = std::fs::metadata(&victim).unwrap().modified().unwrap();
    scene.ctx.sh("a", &format!("ln -sf {} /etc/resolv.conf", victim.display())).ok();
    scene.ctx.ok(&["set", "a", "resolver.servers=[192.0.2.54]"]);
    scene.ctx.ok(&["reboot", "a"]);
    assert!(read().contains("nameserver 192.0.2.54\n"), "{}", read());
    assert_eq!(std::fs::metadata(&victim).unwrap().modified().unwrap(), there);

    // One that the zone wrote itself stays.
    scene.ctx.sh("a", "echo nameserver 192.0.2.55 > /etc/resolv.conf").ok();
    scene.ctx.ok(&["reboot", "a"]);
    assert_eq!(read(), "nameserver 192.0.2.55\n");
    scene.ctx.finish();
}
