//! Zones that are online when a port of theirs answers.

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use zone_tests::{Netns, wait};

use crate::scene::Scene;

const YAML: &str = "zone: a\nnet: [{ mode: bridge }]\nonline: { port: 80, timeout: 2 }";

fn nft(netns: &Netns, rules: &str) {
    let mut nft = Command::new("/usr/sbin/nft");
    nft.args(["-f", "-"]);
    netns.within(|| zone_tests::run_with(nft, rules.as_bytes())).ok();
}

#[test]
fn a_port_answers_when_somebody_listens_there_whatever_becomes_of_the_connection() {
    let scene = Scene::new(&["--bridge", "ztbr0"]);
    let ctx = &scene.ctx;
    ctx.create(YAML).ok();
    ctx.ok(&["install", "a"]);
    let at = SocketAddr::new(scene.addresses("a")[0], 80);
    // The time is the configuration's; the zone runs on.
    let refused =
        format!("zone a: running, but not online after 2 s: {at} does not answer (Connection refused)\n");
    let said = ctx.zonectl(&["boot", "--wait", "a"]).refuses(1, &refused);
    assert!(said.contains(&format!("zone a: waiting to be online: {at} does not answer\n")), "{said}");
    assert_eq!((ctx.state("a").as_str(), ctx.info("a")["online_ms"].is_null()), ("running", true));
    // One that does not even refuse holds up nobody.
    let zone = scene.zone("a");
    nft(&zone, "table ip t { chain c { type filter hook input priority 0; tcp dport 80 drop; }; }");
    let silent = format!("{at} does not answer (no answer within a second)");
    wait::until("the silence is noticed", || ctx.info("a")["awaits"] == silent.as_str());
    let began = Instant::now();
    ctx.ok(&["exec", "a", "true"]);
    ctx.boot("zone: b\nnet: [{}]");
    assert!(began.elapsed() < zone_tests::wait::limit(5), "{:?}", began.elapsed());
    nft(&zone, "flush ruleset");
    // Another port or address of the zone's is not what was asked for.
    let other = zone.within(|| TcpListener::bind((at.ip(), 81)).unwrap());
    ctx.zonectl(&["boot", "--wait", "--timeout", "1", "a"]).refuses(1, "not online after 1 s");
    // Nobody accepts here: the kernel takes the connection, and the zone lets it lie.
    let server = zone.within(|| TcpListener::bind(at).unwrap());
    let said = ctx.ok(&["boot", "--wait", "--timeout", "20", "a"]);
    assert!(said.starts_with("zone a: running (it is running already; online "), "{said}");
    let peer = server.accept().unwrap().1;
    assert!(scene.host().ip("-o address").contains(&peer.ip().to_string()), "{peer} is not the host");
    // It is online from then on; nobody tries again.
    server.set_nonblocking(true).unwrap();
    let online = ctx.info("a")["online_ms"].clone();
    drop(other);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(server.accept().is_err(), "it is tried again");
    drop(server);
    assert_eq!(ctx.info("a")["online_ms"], online);
    scene.ctx.finish();
}

#[test]
fn the_next_daemon_goes_on_trying_and_does_not_forget() {
    let mut scene = Scene::new(&["--bridge", "ztbr0"]);
    scene.ctx.boot(YAML);
    let zone = scene.zone("a");
    let at = SocketAddr::new(scene.addresses("a")[0], 80);
    scene.ctx.zonectl(&["boot", "--wait", "--timeout", "0", "a"]).refuses(1, "not online after 0 s");
    scene.ctx.kill_daemon();
    let server = zone.within(|| TcpListener::bind(at).unwrap());
    scene.ctx.start_daemon();
    scene.ctx.ok(&["boot", "--wait", "--timeout", "20", "a"]);
    let online = scene.ctx.info("a")["online_ms"].clone();
    assert!(online.is_u64());
    server.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    scene.ctx.kill_daemon();
    scene.ctx.start_daemon();
    assert_eq!(scene.ctx.info("a")["online_ms"], online);
    scene.ctx.ok(&["boot", "--wait", "--timeout", "0", "a"]);
    assert!(server.accept().is_err(), "what is known is tried again");
    // A boot knows nothing of the one before.
    drop(server);
    scene.ctx.zonectl(&["reboot", "--wait", "--timeout", "1", "a"]).refuses(1, "not online after 1 s");
    scene.ctx.finish();
}
