//! Wrong configurations: told with the key and the reason, and nothing is left of them.

use zone_tests::{Netns, TestCtx};

#[test]
fn what_cannot_be_had_is_refused_and_leaves_nothing() {
    let ctx = TestCtx::with(Some(Netns::new()), &["--network", "10.77.0.0/29", "--network6", "fd77::/64"]);
    ctx.create("zone: a\nnet: [{ address: [10.77.0.2/29, fd77::9/64], mac: '02:00:00:00:00:01', forward: [{ listen: 80 }] }]")
        .ok();
    for (net, want) in [
        ("{ address: [10.77.0.2/29] }", "net[0].address: 10.77.0.2 is that of zone a"),
        ("{ address: ['fd77::9/64'] }", "net[0].address: fd77::9 is that of zone a"),
        ("{ address: [10.77.0.1/29] }", "10.77.0.1 is the host's own"),
        ("{ address: [10.99.0.1/16] }", "is not in the zones' network, 10.77.0.0/29"),
        ("{ mac: '02:00:00:00:00:01' }", "net[0].mac: 02:00:00:00:00:01 is that of zone a"),
        ("{ forward: [{ listen: 80, to: 8080 }] }", "80/tcp of the host leads to zone a already"),
        ("{ mode: macvlan, parent: eth9, address: [192.0.2.9/24] }", "the host has no interface eth9"),
        ("{ allow: [{ to: outside }] }", "without --uplink"),
        ("{}, {}, {}, {}, {}, {}", "no address of the zones' network, 10.77.0.0/29, is free"),
    ] {
        ctx.create(&format!("zone: b\nnet: [{net}]")).fails(1, want);
        assert!(!ctx.ok(&["list"]).contains(" b "), "{net}");
    }
    // The same for a zone that is there: it keeps what it has.
    ctx.create("zone: b\nnet: [{}]").ok();
    let before = ctx.info("b");
    ctx.zonectl(&["set", "b", "net=[{ address: [10.77.0.2/29] }]"]).fails(1, "is that of zone a");
    assert_eq!(ctx.info("b"), before);
    let netns = ctx.netns.as_ref().unwrap();
    assert_eq!(netns.ip("-brief link").lines().count(), 1, "no link was made but lo");
    ctx.finish();
}

#[test]
fn a_port_that_the_host_serves_is_not_taken_from_it() {
    let ctx = TestCtx::with(Some(Netns::new()), &[]);
    let host = ctx.netns.as_ref().unwrap();
    let server = host.within(|| std::net::TcpListener::bind("127.0.0.1:8080")).unwrap();
    ctx.create("zone: a\nnet: [{ forward: [{ listen: 8080 }] }]").ok();
    ctx.ok(&["install", "a"]);
    ctx.zonectl(&["boot", "a"])
        .fails(1, "8080/tcp of the host is to lead to the zone, and a process of the host's serves there");
    assert_eq!(ctx.state("a"), "installed");
    drop(server);
    ctx.ok(&["boot", "a"]);
    ctx.finish();
}

#[test]
fn a_bridge_of_somebody_elses_is_left_alone() {
    let netns = Netns::new();
    netns.ip("link add zones0 type bridge");
    netns.ip("address add 10.5.0.1/24 dev zones0");
    let before = netns.ip("address show dev zones0");
    let ctx = TestCtx::with(Some(netns), &[]);
    ctx.create("zone: a\nnet: [{}]").ok();
    ctx.ok(&["install", "a"]);
    ctx.zonectl(&["boot", "a"]).fails(1, "zones0 is not the bridge of this zoned; start it with --bridge");
    assert_eq!(ctx.netns.as_ref().unwrap().ip("address show dev zones0"), before);
    ctx.finish();
}

#[test]
fn a_network_of_the_hosts_own_and_an_uplink_that_is_not_there_are_told() {
    let netns = Netns::new();
    netns.ip("link add lan0 type bridge");
    netns.ip("address add 10.5.7.1/24 dev lan0");
    netns.ip("link set lan0 up");
    let options = ["--network", "10.5.0.0/16", "--uplink", "wan0"];
    let ctx = TestCtx::with(Some(netns), &options);
    let doctor = ctx.ok(&["doctor"]);
    let [taken, missing] =
        ["the host has a route to 10.5.7.", "--uplink wan0: the host has no such interface"];
    assert!(doctor.contains(taken) && doctor.contains(missing), "{doctor}");
    let log = ctx.log();
    assert!(log.contains(taken) && log.contains(missing), "{log}");
    ctx.create("zone: a\nnet: [{}]").ok();
    ctx.ok(&["install", "a"]);
    ctx.zonectl(&["boot", "a"])
        .fails(1, "which is in the zones' network, 10.5.0.0/16; start zoned with --network");
    let netns = ctx.netns.as_ref().unwrap();
    assert_eq!(netns.ip("-brief link").lines().count(), 2, "lo and lan0");
    netns.ip("address del 10.5.7.1/24 dev lan0");
    ctx.ok(&["boot", "a"]);
    let doctor = ctx.ok(&["doctor"]);
    assert!(!doctor.contains(taken) && doctor.contains(missing), "{doctor}");
    ctx.finish();
}

#[test]
fn a_link_without_its_boot_is_told_by_audit() {
    let ctx = TestCtx::with(Some(Netns::new()), &[]);
    ctx.create("zone: a\nnet: [{}]").ok();
    let uuid = ctx.info("a")["uuid"].as_str().unwrap().to_owned();
    let netns = ctx.netns.as_ref().unwrap();
    netns.ip("link add zleft type veth peer name other");
    netns.ip(&format!("link set zleft alias {uuid}.7"));
    let found = ctx.zonectl(&["audit"]);
    assert!(
        found.code != 0 && found.stdout.contains("zleft") && !found.stdout.contains("other"),
        "{found:?}"
    );
    netns.ip("link delete zleft");
    ctx.finish();
}
