//! Clients that ask for the same zone at the same moment: each gets a sensible answer, and the zone is in one state.

use serde_json::{Value, json};
use zone_tests::{Outcome, TestCtx, Wire, run, run_with, together};

/// How many at once.
const CROWDS: [usize; 2] = [2, 8];

/// The same command by several clients at once.
fn race(ctx: &TestCtx, clients: usize, args: &[&str]) -> Vec<Outcome> {
    together((0..clients).map(|_| ctx.command(args)).collect())
}

/// Different commands at once.
fn meet(ctx: &TestCtx, commands: &[&[&str]]) -> Vec<Outcome> {
    together(commands.iter().map(|args| ctx.command(args)).collect())
}

fn boot_number(ctx: &TestCtx, zone: &str) -> u64 {
    ctx.info(zone)["boot"].as_u64().unwrap()
}

/// How many of a zone's requests were answered otherwise than by carrying them out: joined, or found done.
fn noted(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|o| o.stdout.contains('(')).count()
}

/// Everybody got a sensible answer: success, or a refusal of one of these kinds.
#[track_caller]
fn sensible(outcomes: Vec<Outcome>, refusals: &[&str]) -> usize {
    let mut succeeded = 0;
    for outcome in outcomes {
        if outcome.code == 0 {
            succeeded += 1;
        } else {
            let said = outcome.refuses(1, "zone ");
            assert!(refusals.iter().any(|r| said.contains(r)), "not one of {refusals:?}: {said}");
        }
    }
    succeeded
}

#[test]
fn create_makes_one_zone_and_tells_the_others() {
    let ctx = TestCtx::new();
    for clients in CROWDS {
        let name = format!("zone-{clients}");
        let yaml = format!("zone: {name}");
        let outcomes = std::thread::scope(|scope| {
            let one = || run_with(ctx.command(&["create", "-f", "-"]), yaml.as_bytes());
            let running: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
            running.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(sensible(outcomes, &["exists already"]), 1);
    }
    assert_eq!(ctx.json(&["list"])["zones"].as_array().unwrap().len(), CROWDS.len());
    ctx.finish();
}

#[test]
fn install_is_done_once_for_all() {
    let ctx = TestCtx::new();
    for clients in CROWDS {
        let name = format!("zone-{clients}");
        ctx.create(&format!("zone: {name}")).ok();
        let outcomes = race(&ctx, clients, &["install", &name]);
        assert_eq!(
            noted(&outcomes),
            clients - 1,
            "one does it, the others join or find it done: {outcomes:?}"
        );
        assert_eq!(sensible(outcomes, &[]), clients);
        assert_eq!(ctx.state(&name), "installed");
    }
    ctx.finish();
}

#[test]
fn boot_is_done_once_for_all() {
    let ctx = TestCtx::new();
    for clients in CROWDS {
        let name = format!("zone-{clients}");
        ctx.create(&format!("zone: {name}")).ok();
        ctx.ok(&["install", &name]);
        for round in 1..=3 {
            let outcomes = race(&ctx, clients, &["boot", &name]);
            assert_eq!(noted(&outcomes), clients - 1, "{outcomes:?}");
            assert_eq!(sensible(outcomes, &[]), clients);
            assert_eq!((ctx.state(&name).as_str(), boot_number(&ctx, &name)), ("running", round));
            ctx.ok(&["exec", &name, "true"]);
            ctx.ok(&["halt", &name]);
        }
    }
    ctx.finish();
}

#[test]
fn halt_shutdown_and_uninstall_succeed_for_all() {
    let ctx = TestCtx::new();
    ctx.create("zone: r").ok();
    for clients in CROWDS {
        ctx.ok(&["install", "r"]);
        for args in [&["halt", "r"][..], &["shutdown", "--timeout", "20", "r"]] {
            ctx.ok(&["boot", "r"]);
            let outcomes = race(&ctx, clients, args);
            assert_eq!(noted(&outcomes), clients - 1, "{outcomes:?}");
            assert_eq!(sensible(outcomes, &[]), clients);
            assert_eq!(ctx.state("r"), "installed");
        }
        let outcomes = race(&ctx, clients, &["uninstall", "--force", "r"]);
        assert_eq!(noted(&outcomes), clients - 1, "{outcomes:?}");
        assert_eq!(sensible(outcomes, &[]), clients);
        assert_eq!(ctx.state("r"), "configured");
    }
    ctx.finish();
}

#[test]
fn reboot_ends_in_one_running_zone() {
    let ctx = TestCtx::new();
    ctx.boot("zone: r");
    for clients in CROWDS {
        let before = boot_number(&ctx, "r");
        let outcomes = race(&ctx, clients, &["reboot", "r"]);
        let joined = noted(&outcomes) as u64;
        assert_eq!(sensible(outcomes, &[]), clients);
        assert_eq!(ctx.state("r"), "running");
        // Who came when one was over has had another.
        assert_eq!(boot_number(&ctx, "r"), before + clients as u64 - joined);
        ctx.ok(&["exec", "r", "true"]);
    }
    ctx.finish();
}

#[test]
fn delete_forgets_the_zone_once() {
    let ctx = TestCtx::new();
    for clients in CROWDS {
        ctx.create("zone: r").ok();
        let succeeded = sensible(race(&ctx, clients, &["delete", "--force", "r"]), &["no such zone"]);
        assert!(succeeded >= 1);
        ctx.zonectl(&["info", "r"]).refuses(1, "no such zone");
        // The name is free again at once, for a zone of another identity.
        ctx.create("zone: r").ok();
        ctx.ok(&["delete", "--force", "r"]);
    }
    assert_eq!(ctx.json(&["list"])["zones"], Value::Array(vec![]));
    ctx.finish();
}

#[test]
fn opposites_leave_one_state_and_nothing_behind() {
    let ctx = TestCtx::new();
    ctx.create("zone: r").ok();
    let refusals = ["busy with", "while it is", "interrupted by a halt"];
    let (mut booted, mut halted) = (0, 0);
    for _ in 0..3 {
        ctx.ok(&["install", "r"]);
        sensible(meet(&ctx, &[&["boot", "r"], &["uninstall", "--force", "r"]]), &refusals);
        let state = ctx.state("r");
        assert!(matches!(&*state, "running" | "configured"), "boot against uninstall: {state}");
        ctx.ok(&["install", "r"]);
        ctx.ok(&["halt", "r"]);
        sensible(meet(&ctx, &[&["boot", "r"], &["halt", "r"], &["ready", "r"], &["halt", "r"]]), &refusals);
        match &*ctx.state("r") {
            "running" => booted += 1,
            "installed" | "ready" => halted += 1,
            state => panic!("boot against halt: {state}"),
        }
        sensible(
            meet(&ctx, &[&["reboot", "r"], &["pause", "r"], &["shutdown", "r"], &["halt", "r"]]),
            &refusals,
        );
        ctx.ok(&["halt", "r"]);
        ctx.ok(&["uninstall", "--force", "r"]);
        sensible(meet(&ctx, &[&["install", "r"], &["halt", "r"], &["uninstall", "--force", "r"]]), &{
            [&refusals[..], &["install failed"]].concat()
        });
        let state = ctx.state("r");
        assert!(
            matches!(&*state, "installed" | "configured" | "incomplete"),
            "install against uninstall: {state}"
        );
        ctx.ok(&["uninstall", "--force", "r"]);
        assert_eq!(ctx.zonectl(&["audit"]).ok(), "nothing is left over\n");
    }
    assert_eq!(booted + halted, 3);
    ctx.finish();
}

#[test]
fn deleting_and_making_the_same_name_never_mixes_two_zones() {
    let ctx = TestCtx::new();
    ctx.create("zone: r").ok();
    for _ in 0..5 {
        let before = ctx.info("r")["uuid"].clone();
        let outcomes =
            meet(&ctx, &[&["delete", "--force", "r"], &["create", "r"], &["delete", "--force", "r"]]);
        sensible(outcomes, &["no such zone", "exists already"]);
        // Whoever deleted had looked at a zone of one identity, and deleted no other.
        ctx.zonectl(&["create", "r"]);
        assert_ne!(ctx.info("r")["uuid"], before);
    }
    ctx.finish();
}

/// A state at which a zone comes to rest and the end of what led there are one change: whoever sees the one finds
/// the zone free.
#[test]
fn who_sees_a_zone_at_rest_finds_it_free() {
    let ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    let mut seeing = Wire::connect(&ctx.socket());
    let mut asking = Wire::connect(&ctx.socket());
    for _ in 0..8 {
        for (verb, state) in [("install", "installed"), ("uninstall", "configured")] {
            let next = if verb == "install" { "uninstall" } else { "install" };
            let mut command = ctx.command(&[verb, "z"]);
            if verb == "uninstall" {
                command.arg("--force");
            }
            let going = std::thread::spawn(move || run(command));
            while seeing.call("Info", json!({ "zone": "z" }))["parameters"]["zones"][0]["state"] != state {}
            let reply = match next {
                "install" => asking.call("Install", json!({ "zone": "z" })),
                verb => asking.call("Do", json!({ "zone": "z", "verb": verb })),
            };
            assert_eq!(reply["error"], Value::Null, "{next} as soon as it was {state}: {reply}");
            going.join().unwrap().ok();
            // Back to where this verb has led.
            ctx.ok(if verb == "install" { &["install", "z"] } else { &["uninstall", "--force", "z"] });
        }
    }
    ctx.ok(&["uninstall", "--force", "z"]);
    ctx.finish();
}
