//! What a zone must not send: every kind of it is dropped where its link ends on the host, counted with its reason, and
//! heard by nobody.

use std::{collections::BTreeMap, net::IpAddr, os::fd::OwnedFd, time::Duration};

use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use zone_tests::{TestCtx, sys::packet_socket, wait};

use crate::scene::Scene;

#[path = "../../zone-ebpf/abi/src/frame/tests/specimens.rs"]
mod specimens;

use specimens::Station;

/// What `stat` says was dropped of what a zone sent, by reason.
fn dropped(ctx: &TestCtx, zone: &str) -> BTreeMap<String, u64> {
    let stat = ctx.json(&["stat", zone])["stats"][0].clone();
    let counts = stat["net"]["dropped"].as_object().cloned().unwrap_or_default();
    counts.into_iter().map(|(reason, count)| (reason, count.as_u64().unwrap())).collect()
}

fn octets<const N: usize>(ip: IpAddr) -> [u8; N] {
    let all = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    all.try_into().unwrap()
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// Two zones, and zone `a` as somebody who could pass for `b` or for the host.
fn scene() -> (Scene, Station) {
    let scene = Scene::new(&[]);
    scene.ctx.boot("zone: a\nnet: [{ allow: [{ to: global }, { to: b }] }]");
    scene.ctx.boot("zone: b\nnet: [{}]");
    let own = |zone: &str| mac(scene.ctx.info(zone)["network"][0]["mac"].as_str().unwrap());
    let (a, b) = (scene.addresses("a"), scene.addresses("b"));
    let bridge = scene.host().ip("-brief link show dev zones0");
    let station = Station {
        mac: own("a"),
        v4: octets(a[0]),
        v6: octets(a[1]),
        gateway_mac: mac(bridge.split_whitespace().nth(2).unwrap()),
        gateway_v4: [10, 77, 0, 1],
        gateway_v6: octets("fd77::1".parse().unwrap()),
        other_mac: own("b"),
        other_v4: octets(b[0]),
        other_v6: octets(b[1]),
    };
    (scene, station)
}

/// Whether a frame with these last bytes comes in soon.
fn heard(socket: &OwnedFd, frame: &[u8]) -> bool {
    let mut buffer = [0; 2048];
    while let Ok((length, _)) = recv(socket, buffer.as_mut_slice(), RecvFlags::empty()) {
        if buffer[..length].ends_with(&frame[14..]) {
            return true;
        }
    }
    false
}

#[test]
fn what_is_not_its_own_is_dropped_and_counted() {
    let (scene, station) = scene();
    let out = scene.zone("a").within(|| packet_socket("net0")).unwrap();
    let bridge = scene.host().within(|| packet_socket("zones0")).unwrap();
    sockopt::set_socket_timeout(
        &bridge,
        sockopt::Timeout::Recv,
        Some(wait::patiently(Duration::from_millis(20))),
    )
    .unwrap();
    for (what, frame) in station.honest() {
        let before = dropped(&scene.ctx, "a");
        send(&out, &frame, SendFlags::empty()).unwrap();
        assert!(heard(&bridge, &frame), "{what} passes");
        assert_eq!(dropped(&scene.ctx, "a"), before, "{what}");
    }
    let forged = station.forged();
    for (what, reason, frame) in &forged {
        let mut expected = dropped(&scene.ctx, "a");
        *expected.entry((*reason).to_owned()).or_default() += 1;
        send(&out, frame, SendFlags::empty()).unwrap();
        wait::until(&format!("{what} is counted as {reason}"), || dropped(&scene.ctx, "a") == expected);
        assert!(!heard(&bridge, frame), "{what} is heard on the bridge");
    }
    println!("{} kinds of forged frames, each dropped and counted", forged.len());
    assert_eq!(dropped(&scene.ctx, "b"), BTreeMap::new());
    // By name in the table too.
    assert!(scene.ctx.ok(&["stat"]).contains("DROPPED"));
    scene.ctx.finish();
}

#[test]
fn root_of_a_zone_cannot_take_the_guard_away() {
    let (mut scene, station) = scene();
    let (_, _, forged) =
        station.forged().into_iter().find(|(what, ..)| *what == "another's IPv4 address").unwrap();
    // Whatever is at hand in a zone to change its links and filters; some of it works, on the zone's own end.
    let attacks = [
        "tc qdisc del dev net0 clsact; tc qdisc add dev net0 clsact; tc filter del dev net0 ingress",
        "ip link set net0 down; ip link set net0 up",
        "ip link set net0 down; ip link set net0 name eth7; ip link set eth7 up; ip link set eth7 down; \
         ip link set eth7 name net0; ip link set net0 up",
        "ip link add br9 type bridge; ip link set br9 up; ip link set net0 master br9; ip link set net0 nomaster; \
         ip link delete br9",
        "ip link set net0 promisc on; ip link set net0 mtu 1400; ip link set net0 arp off; ip link set net0 arp on",
    ];
    let check = |scene: &Scene, word: &str| {
        let out = scene.zone("a").within(|| packet_socket("net0")).unwrap();
        let before = dropped(&scene.ctx, "a").get("address").copied().unwrap_or(0);
        send(&out, &forged, SendFlags::empty()).unwrap();
        wait::until(&format!("still dropped after {word}"), || {
            dropped(&scene.ctx, "a").get("address").copied().unwrap_or(0) == before + 1
        });
    };
    for attack in attacks {
        scene.ctx.sh("a", attack);
        check(&scene, attack);
    }
    // A daemon that is not there, and the next one.
    let out = scene.zone("a").within(|| packet_socket("net0")).unwrap();
    scene.ctx.kill_daemon();
    let bridge = scene.host().within(|| packet_socket("zones0")).unwrap();
    sockopt::set_socket_timeout(
        &bridge,
        sockopt::Timeout::Recv,
        Some(wait::patiently(Duration::from_millis(50))),
    )
    .unwrap();
    send(&out, &forged, SendFlags::empty()).unwrap();
    assert!(!heard(&bridge, &forged), "without a daemon");
    scene.ctx.start_daemon();
    check(&scene, "another daemon");
    scene.ctx.finish();
}
