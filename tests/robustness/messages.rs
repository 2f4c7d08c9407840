//! What is no message, by the raw socket: broken off, garbage, endless, unknown, of the wrong type; and clients that
//! only sit there.

use std::{os::unix::net::UnixStream, time::Instant};

use serde_json::{Value, json};
use zone_tests::{TestCtx, Wire, together};

use super::shape::Shape;

fn connect(ctx: &TestCtx) -> Wire {
    Wire::connect(&ctx.socket())
}

/// The daemon serves everybody else.
#[track_caller]
fn serves(ctx: &TestCtx) {
    let began = Instant::now();
    ctx.ok(&["list"]);
    assert!(began.elapsed() < zone_tests::wait::limit(5), "list took {:?}", began.elapsed());
}

#[test]
fn half_a_message_and_gone() {
    let ctx = TestCtx::new();
    ctx.create("zone: kept").ok();
    let shape = Shape::of_daemon(&ctx);
    let whole =
        json!({ "method": "io.zoned.Manager.Do", "parameters": { "zone": "kept", "verb": "delete" } });
    let whole = whole.to_string();
    for cut in [0, 1, whole.len() / 2, whole.len()] {
        for _ in 0..20 {
            // All but the NUL that ends it.
            connect(&ctx).send(&whole.as_bytes()[..cut]).unwrap();
        }
        serves(&ctx);
    }
    assert_eq!(ctx.state("kept"), "configured", "half a message was obeyed");
    shape.is_back();
    ctx.finish();
}

#[test]
fn garbage_is_answered_or_hung_up_on() {
    let ctx = TestCtx::new();
    let shape = Shape::of_daemon(&ctx);
    let texts: [&[u8]; 13] = [
        b"\0",
        b"\0\0\0\0\0\0",
        b"hello\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
        b"{}\0",
        b"[]\0",
        b"null\0",
        b"7\0",
        b"\"x\"\0",
        b"{\"method\":\0",
        b"{\"method\":7}\0",
        b"\xff\xfe\xfd\0",
        b"{\"method\":\"\xff\"}\0",
    ];
    for text in texts {
        let mut wire = connect(&ctx);
        wire.send(text).unwrap();
        // Either an error in varlink's form or the end; never silence.
        if let Some(reply) = wire.receive() {
            let error = reply["error"].as_str().unwrap_or_else(|| panic!("{text:?}: {reply}"));
            assert_eq!(error, "org.varlink.service.InvalidParameter", "{text:?}: {reply}");
        }
        serves(&ctx);
    }
    // Nested deeper than any stack is.
    let mut wire = connect(&ctx);
    let _ = wire.send(&[&b"{\"method\":".repeat(200_000)[..], b"\0"].concat());
    let reply = wire.receive().map(|reply| reply["error"].clone());
    drop(wire);
    assert!(reply.is_none_or(|e| e == "org.varlink.service.InvalidParameter"));
    serves(&ctx);
    shape.is_back();
    ctx.finish();
}

#[test]
fn a_message_without_end_is_cut_off_and_costs_no_memory() {
    let ctx = TestCtx::new();
    let shape = Shape::of_daemon(&ctx);
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..4 {
        let mut wire = connect(&ctx);
        let sent = (0..10).take_while(|_| wire.send(&chunk).is_ok()).count();
        assert!(sent < 10, "ten megabytes were taken");
    }
    serves(&ctx);
    shape.is_back();
    ctx.finish();
}

#[test]
fn unknown_methods_and_wrong_parameters_are_told_apart() {
    let ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    let mut wire = connect(&ctx);
    let error = |wire: &mut Wire, method: &str, parameters: Value| {
        let reply = wire.call(method, parameters);
        reply["error"].as_str().unwrap_or_else(|| panic!("{method}: {reply}")).to_owned()
    };
    for method in ["", "Nope", "list", "List.", "../List", "List\u{1b}[2J"] {
        assert_eq!(error(&mut wire, method, json!({})), "org.varlink.service.MethodNotFound", "{method:?}");
    }
    for (method, parameters) in [
        ("Info", json!({})),
        ("Info", json!({ "zone": 7 })),
        ("Info", json!({ "zone": ["z"] })),
        ("Info", json!({ "zone": null })),
        ("Info", json!({ "zone": "z", "extra": 1 })),
        ("List", json!({ "zone": "z" })),
        ("Do", json!({ "zone": "z", "verb": "burn" })),
        ("Do", json!({ "zone": "z", "verb": "exec" })),
        ("Do", json!({ "zone": "z", "verb": "halt", "uuid": "no" })),
        ("Set", json!({ "zone": "z", "values": ["a"] })),
        ("Set", json!({ "zone": "z", "values": { "order": 7 } })),
        ("Shutdown", json!({ "zone": "z", "timeout": -1 })),
        ("Shutdown", json!({ "zone": "z", "timeout": 4_294_967_296_u64 })),
        ("Shutdown", json!({ "zone": "z", "reboot": "yes" })),
        ("Events", json!({ "since": "yesterday" })),
        ("Exec", json!({ "zone": "z", "spec": { "command": "ls" } })),
        ("Exec", json!({ "zone": "z", "spec": { "command": [] , "size": [1] } })),
        // Three descriptors are due, and none come.
        ("Exec", json!({ "zone": "z", "spec": { "command": ["ls"] } })),
        ("Copy", json!({ "zone": "z", "path": "/", "into": false })),
        ("Copy", json!({ "zone": "z", "path": "/", "into": "out" })),
    ] {
        let got = error(&mut wire, method, parameters.clone());
        assert_eq!(got, "org.varlink.service.InvalidParameter", "{method} {parameters}");
    }
    // The same connection goes on, and so does the zone.
    assert_eq!(wire.call("Info", json!({ "zone": "z" }))["parameters"]["zones"][0]["state"], "configured");
    wire.ask(json!({ "method": "org.varlink.service.GetInfo" }));
    assert_eq!(wire.receive().unwrap()["parameters"]["interfaces"][1], "io.zoned.Manager");
    ctx.finish();
}

#[test]
fn a_thousand_calls_sent_at_once_are_answered_in_order() {
    let ctx = TestCtx::new();
    let mut wire = connect(&ctx);
    let mut all = Vec::new();
    for i in 0..1000 {
        let call = json!({ "method": "io.zoned.Manager.Info", "parameters": { "zone": format!("z{i}") } });
        all.extend(call.to_string().into_bytes());
        all.push(0);
    }
    wire.send(&all).unwrap();
    for i in 0..1000 {
        assert_eq!(wire.receive().unwrap()["parameters"]["zone"], format!("z{i}"));
    }
    // A call that wants no answer gets none, and the next one its own.
    wire.ask(json!({ "method": "io.zoned.Manager.List", "oneway": true }));
    assert_eq!(wire.call("Info", json!({ "zone": "last" }))["parameters"]["zone"], "last");
    ctx.finish();
}

#[test]
fn five_hundred_who_only_sit_there_keep_nobody_out() {
    let ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    let shape = Shape::of_daemon(&ctx);
    let idle: Vec<_> = (0..500).map(|_| UnixStream::connect(ctx.socket()).unwrap()).collect();
    serves(&ctx);
    for outcome in together((0..8).map(|_| ctx.command(&["info", "z"])).collect()) {
        outcome.ok();
    }
    // Half of them have begun to say something.
    for stream in idle.iter().step_by(2) {
        let _ = std::io::Write::write_all(&mut &*stream, b"{\"method\":\"io.zoned.");
    }
    serves(&ctx);
    drop(idle);
    serves(&ctx);
    shape.is_back();
    ctx.finish();
}

#[test]
fn a_follower_that_reads_nothing_loses_events_and_holds_up_nobody() {
    let ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    let shape = Shape::of_daemon(&ctx);
    let mut lazy: Vec<Wire> = (0..3)
        .map(|_| {
            let mut wire = connect(&ctx);
            let parameters = json!({ "follow": true, "since": 0 });
            wire.ask(json!({ "method": "io.zoned.Manager.Events", "parameters": parameters, "more": true }));
            wire
        })
        .collect();
    // More events than socket and daemon keep for one who lags: each change is two.
    let mut busy = connect(&ctx);
    let long = "x".repeat(400);
    for i in 0..6000 {
        let zone = format!("{long}{i}");
        assert!(busy.call("Info", json!({ "zone": zone }))["error"].is_string());
        let values = json!({ "order": (i % 7).to_string() });
        assert!(busy.call("Set", json!({ "zone": "z", "values": values }))["error"].is_null());
    }
    serves(&ctx);
    // It catches up with what is kept, and is told how much is not.
    let (mut seen, mut missed, mut last) = (0, 0, 0);
    while last < 12_000 {
        let reply = lazy[0].receive().expect("the stream goes on");
        missed += reply["parameters"]["missed"].as_u64().unwrap();
        for event in reply["parameters"]["events"].as_array().unwrap() {
            seen += 1;
            let seq = event["seq"].as_u64().unwrap();
            assert!(seq > last, "{seq} after {last}");
            last = seq;
        }
    }
    assert!(missed > 0, "nothing was missed of {seen} events: nobody lagged");
    assert_eq!(seen + missed, last, "seen and missed are all there were");
    drop((lazy, busy));
    shape.is_back();
    ctx.finish();
}
