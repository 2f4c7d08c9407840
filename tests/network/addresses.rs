//! Addresses and rules outlive the daemon; addresses outlive a boot.

use std::net::SocketAddr;

use crate::scene::{Scene, both, tcp};

#[test]
fn what_a_zone_has_survives_the_daemon_and_a_reboot() {
    let mut scene = Scene::new(&["--uplink", "up0"]);
    scene.ctx.boot("zone: a\nnet: [{ allow: [{ to: b, port: 80 }], forward: [{ listen: 8080, to: 80 }] }]");
    scene.ctx.boot("zone: b\nnet: [{}]");
    let (first, others) = (scene.addresses("a"), scene.addresses("b"));
    let (a, b) = (scene.zone("a"), scene.zone("b"));
    let check = |scene: &Scene, word: &str| {
        let (web, forwarded) = (SocketAddr::new(others[0], 80), SocketAddr::new(first[0], 80));
        assert!(tcp(&a, &b, web, web).is_some(), "{word}: a still reaches b");
        assert_eq!(both(&b, &a, first[1], 80), [false, false], "{word}: b still does not reach a");
        let outside = "192.0.2.1:8080".parse().unwrap();
        assert!(tcp(&scene.outside, &a, outside, forwarded).is_some(), "{word}: the forward");
    };
    check(&scene, "at first");
    let pid = u64::from(scene.ctx.daemon_pid());
    let host = zone_tests::Netns::of(pid);
    scene.ctx.kill_daemon();
    check(&scene, "without a daemon");
    // A zone that ends now is found and cleared away by the next one, and the rules are put into force again.
    let mut nft = std::process::Command::new("/usr/sbin/nft");
    nft.args(["flush", "ruleset"]);
    host.run(nft).ok();
    scene.ctx.start_daemon();
    check(&scene, "with a new daemon");
    assert_eq!((scene.addresses("a"), scene.addresses("b")), (first, others));

    // A zone made meanwhile gets others; a rebooted one keeps its own.
    scene.ctx.boot("zone: c\nnet: [{}]");
    assert!(scene.addresses("c").iter().all(|ip| !first.contains(ip) && !others.contains(ip)));
    scene.ctx.ok(&["reboot", "a"]);
    let shown = scene.zone("a").ip("-brief address show dev net0");
    assert!(first.iter().all(|ip| shown.contains(&ip.to_string())), "{shown}");
    assert_eq!(both(scene.host(), &scene.zone("a"), first[0], 4000), [true, true]);

    // While a zone runs with an address, nobody else gets it, whatever its configuration says by now.
    scene.ctx.ok(&["set", "b", "net=[]"]);
    let yaml = format!("zone: d\nnet: [{{ address: [{}/16] }}]", others[0]);
    scene.ctx.create(&yaml).fails(1, "is that of zone b");
    scene.ctx.ok(&["halt", "b"]);
    scene.ctx.create(&yaml).ok();
    scene.ctx.ok(&["halt", "a"]);
    scene.ctx.ok(&["halt", "c"]);
    let alone = || scene.host().ip("-brief link show type veth").lines().count() == 1;
    zone_tests::wait::until("up0 alone is left", alone);
    scene.ctx.finish();
}

#[test]
fn an_address_that_was_anothers_is_reached_at_once() {
    let scene = Scene::new(&[]);
    // A bridge without ports forgets whom it knew.
    scene.ctx.boot("zone: other\nnet: [{}]");
    scene.ctx.boot("zone: before\nnet: [{}]");
    let had = scene.addresses("before");
    let before = scene.zone("before");
    had.iter().for_each(|ip| assert_eq!(both(scene.host(), &before, *ip, 80), [true, true]));
    drop(before);
    scene.ctx.ok(&["halt", "before"]);
    scene.ctx.ok(&["uninstall", "--force", "before"]);
    scene.ctx.ok(&["delete", "--force", "before"]);
    scene.ctx.boot("zone: after\nnet: [{}]");
    assert_eq!(scene.addresses("after"), had);
    let after = scene.zone("after");
    let begun = std::time::Instant::now();
    had.iter().for_each(|ip| assert_eq!(both(scene.host(), &after, *ip, 80), [true, true], "{ip}"));
    println!("reached within {:?}", begun.elapsed());
    scene.ctx.finish();
}

#[test]
fn a_boot_that_a_daemon_left_is_finished_with_its_network() {
    let mut scene = Scene::new(&[]);
    scene.ctx.create("zone: a\nnet: [{}]").ok();
    scene.ctx.ok(&["install", "a"]);
    let uuid = scene.ctx.info("a")["uuid"].as_str().unwrap().to_owned();
    let plan = scene.ctx.dir.join("run/zones").join(uuid).join("plan.json");
    let reached = |scene: &Scene| both(scene.host(), &scene.zone("a"), scene.addresses("a")[0], 4000);
    for _ in 0..3 {
        let mut boot = scene.ctx.command(&["boot", "a"]);
        let boot = boot.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn();
        zone_tests::wait::until("the boot is under way", || plan.exists());
        scene.ctx.kill_daemon();
        boot.unwrap().wait().unwrap();
        scene.ctx.start_daemon();
        // The next one goes on with it, or finds that its monitor was never told to begin.
        let known = || Some(scene.ctx.state("a")).filter(|s| s == "running" || s == "installed");
        let state = zone_tests::wait::within(std::time::Duration::from_secs(20), known);
        if state.as_deref() == Some("installed") {
            scene.ctx.ok(&["boot", "a"]);
        }
        scene.ctx.wait_state("a", "running");
        assert_eq!(reached(&scene), [true, true]);
        scene.ctx.ok(&["halt", "a"]);
    }
    scene.ctx.ok(&["ready", "a"]);
    scene.ctx.kill_daemon();
    scene.ctx.start_daemon();
    scene.ctx.ok(&["boot", "a"]);
    assert_eq!(reached(&scene), [true, true]);
    scene.ctx.finish();
}
