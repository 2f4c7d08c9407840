//! What goes over the network, counted: against the kernel's own counters of the links.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use serde_json::Value;
use zone_tests::{Netns, TestCtx, wait};

use crate::scene::{Scene, udp};

/// Packets and bytes, received and sent by a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passed {
    received: [u64; 2],
    sent: [u64; 2],
}

fn net(ctx: &TestCtx, zone: &str) -> Value {
    ctx.json(&["stat", zone])["stats"][0]["net"].clone()
}

fn pair(value: &Value) -> [u64; 2] {
    ["packets", "bytes"].map(|key| value[key].as_u64().unwrap_or(0))
}

fn by_ebpf(ctx: &TestCtx, zone: &str) -> Passed {
    let net = net(ctx, zone);
    Passed { received: pair(&net["received"]), sent: pair(&net["sent"]) }
}

/// What the kernel says went by the host's end of a zone's link.
fn by_kernel(scene: &Scene, zone: &str) -> Passed {
    let uuid = scene.ctx.info(zone)["uuid"].as_str().unwrap().to_owned();
    let links: Value =
        serde_json::from_str(&scene.host().ip("-json -statistics link show type veth")).unwrap();
    let own = |link: &&Value| link["ifalias"].as_str().is_some_and(|alias| alias.starts_with(&uuid));
    let link = links.as_array().unwrap().iter().find(own).unwrap();
    // What the host's end receives is what the zone sends.
    Passed { received: pair(&link["stats64"]["tx"]), sent: pair(&link["stats64"]["rx"]) }
}

/// So many bytes over TCP, from one namespace to the other.
fn bulk(from: &Netns, to: &Netns, ip: IpAddr, bytes: usize) {
    let at = SocketAddr::new(ip, 5201);
    let server = to.within(|| TcpListener::bind(at)).unwrap();
    let mut client = from.within(|| TcpStream::connect(at)).unwrap();
    let reader = thread::spawn(move || {
        let (mut accepted, _) = server.accept().unwrap();
        let mut buffer = vec![0; 1 << 16];
        let mut sum = 0;
        loop {
            match accepted.read(&mut buffer).unwrap() {
                0 => return sum,
                n => sum += n,
            }
        }
    });
    let block = vec![7; 1 << 16];
    for _ in 0..bytes / block.len() {
        client.write_all(&block).unwrap();
    }
    drop(client);
    assert_eq!(reader.join().unwrap(), bytes);
}

#[track_caller]
fn agree(scene: &Scene, zone: &str) -> Passed {
    // Both are read while nothing but the kernel's own talk goes on: until they were read with nothing between.
    let mut seen = None;
    wait::until(&format!("eBPF and the link of {zone} agree"), || {
        let (before, ebpf) = (by_kernel(scene, zone), by_ebpf(&scene.ctx, zone));
        seen = Some((before, ebpf));
        before == ebpf
    });
    let (kernel, ebpf) = seen.unwrap();
    println!("{zone}: kernel {kernel:?}, eBPF {ebpf:?}");
    ebpf
}

#[test]
fn every_packet_and_byte_is_counted() {
    let mut scene = Scene::new(&[]);
    scene.ctx.boot("zone: a\nnet: [{ allow: [{ to: b }] }]");
    scene.ctx.boot("zone: b\nnet: [{}]");
    let (a, b) = (scene.zone("a"), scene.zone("b"));
    let (of_a, of_b) = (scene.addresses("a"), scene.addresses("b"));
    const BYTES: usize = 64 << 20;
    let before = agree(&scene, "a");
    for ip in of_a {
        bulk(scene.host(), &a, ip, BYTES);
    }
    for ip in of_b {
        bulk(&a, &b, ip, BYTES);
        assert!(udp(&a, &b, SocketAddr::new(ip, 9), SocketAddr::new(ip, 9)).is_some());
    }
    let after = agree(&scene, "a");
    agree(&scene, "b");
    for (before, after) in [(before.received, after.received), (before.sent, after.sent)] {
        let bytes = after[1] - before[1];
        assert!((2 * BYTES as u64..2 * BYTES as u64 * 11 / 10).contains(&bytes), "{bytes}");
    }
    let seen = net(&scene.ctx, "a");
    let tcp = seen["sent"]["protocols"]["tcp"]["bytes"].as_u64().unwrap();
    assert!(tcp > 2 * BYTES as u64 && tcp < after.sent[1], "{seen}");
    assert!(seen["sent"]["protocols"]["udp"]["packets"].as_u64() >= Some(2), "{seen}");
    assert!(
        seen["sent"]["protocols"]["icmp"]["packets"].as_u64() >= Some(1),
        "neighbours are looked for: {seen}"
    );
    assert!(seen["received"]["protocols"]["arp"]["packets"].as_u64() >= Some(1), "{seen}");
    assert_eq!(seen["dropped"], Value::Null, "an honest zone drops nothing");

    // It goes on while nobody reads, and the next daemon finds it.
    scene.ctx.kill_daemon();
    bulk(&a, &b, of_b[0], BYTES);
    scene.ctx.start_daemon();
    let later = agree(&scene, "a");
    assert!(later.sent[1] > after.sent[1] + BYTES as u64);
    // A boot begins anew.
    scene.ctx.ok(&["reboot", "a"]);
    assert!(agree(&scene, "a").sent[1] < 1 << 20);
    scene.ctx.finish();
}

#[test]
fn what_has_no_link_of_its_own_on_the_host_is_counted_at_its_sockets() {
    let mut scene = Scene::new(&[]);
    scene.ctx.boot("zone: h\nnet: [{ mode: host }]");
    scene
        .ctx
        .boot("zone: m\nnet: [{ mode: macvlan, parent: up0, address: [192.0.2.50/24] }, { name: inner }]");
    scene.ctx.boot("zone: n\nnet: [{ mode: none }]");
    assert_eq!(net(&scene.ctx, "n"), Value::Null);
    // From programs of the zones: a socket is of the group its maker is in.
    let hello = |scene: &Scene, zone: &str| {
        let at: SocketAddr = "192.0.2.2:9".parse().unwrap();
        let server = scene.outside.within(|| UdpSocket::bind(at)).unwrap();
        server.set_read_timeout(Some(zone_tests::wait::limit(5))).unwrap();
        let script =
            "for i in 1 2 3; do printf hello > /dev/udp/192.0.2.2/9; done; printf x > /dev/udp/127.0.0.1/9";
        scene.ctx.zonectl(&["exec", zone, "--", "/bin/bash", "-c", script]).ok();
        for _ in 0..3 {
            assert_eq!(server.recv_from(&mut [0; 16]).unwrap().0, 5);
        }
    };
    for zone in ["h", "m"] {
        let before = net(&scene.ctx, zone)["sent"]["protocols"]["udp"].clone();
        hello(&scene, zone);
        let after = net(&scene.ctx, zone)["sent"]["protocols"]["udp"].clone();
        let grown: Vec<u64> = pair(&after).iter().zip(pair(&before)).map(|(a, b)| a - b).collect();
        assert_eq!(
            grown,
            [3, 3 * (20 + 8 + 5)],
            "{zone}: three datagrams, and not what stayed on the loopback"
        );
    }
    // What goes by the link that has an end on the host is counted there, once.
    let inner = "10.77.0.2:80".parse().unwrap();
    let before = net(&scene.ctx, "m")["received"]["protocols"]["udp"].clone();
    assert!(udp(scene.host(), &scene.zone("m"), inner, inner).is_some());
    let after = net(&scene.ctx, "m")["received"]["protocols"]["udp"].clone();
    assert_eq!(pair(&after)[0] - pair(&before)[0], 1);
    scene.ctx.kill_daemon();
    scene.ctx.start_daemon();
    let before = pair(&net(&scene.ctx, "h")["sent"]["protocols"]["udp"]);
    hello(&scene, "h");
    assert_eq!(pair(&net(&scene.ctx, "h")["sent"]["protocols"]["udp"])[0], before[0] + 3);
    scene.ctx.finish();
}
