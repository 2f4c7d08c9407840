//! What a change would come to, without making it.

use serde_json::Value;
use zone_tests::TestCtx;

use crate::in_force;

/// Name, CPUs before and CPUs after, to a thousandth.
fn shifts(ctx: &TestCtx, args: &[&str]) -> Vec<(String, Option<f64>, f64)> {
    let answer = ctx.json(&[&["whatif"], args].concat());
    let cpus = |row: &Value| Some((row["cpus"].as_f64()? * 1000.0).round() / 1000.0);
    let row = |row: &Value| {
        let name = row["zone"].as_str().unwrap().to_owned();
        (name, cpus(&row["before"]), cpus(&row["after"]).unwrap())
    };
    answer["shifts"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn everybodys_entitlement_is_shown_before_and_after_and_nothing_changes() {
    let ctx = TestCtx::new();
    for config in ["zone: a\ncpu: { cpus: 0 }", "zone: b\ncpu: { shares: 300, cpus: 0 }"] {
        ctx.boot(config);
    }
    ctx.create("zone: idle\ncpu: { cpus: 0 }").ok();
    let before = ctx.ok(&["export", "a"]);
    let named = |name: &str, before, after| (name.to_owned(), before, after);
    assert_eq!(
        shifts(&ctx, &["a", "cpu.shares=300"]),
        [named("a", Some(0.25), 0.5), named("b", Some(0.75), 0.5)]
    );
    // A cap leaves the rest to the other; no shares leave all.
    assert_eq!(
        shifts(&ctx, &["b", "cpu.cap=0.4"]),
        [named("a", Some(0.25), 0.6), named("b", Some(0.75), 0.4)]
    );
    assert_eq!(
        shifts(&ctx, &["a", "cpu.shares=0"]),
        [named("a", Some(0.25), 0.0), named("b", Some(0.75), 1.0)]
    );
    // One that does not run, as if it did.
    assert_eq!(
        shifts(&ctx, &["idle", "cpu.shares=400"]),
        [named("a", Some(0.25), 0.125), named("b", Some(0.75), 0.375), named("idle", None, 0.5)]
    );
    let text = ctx.ok(&["whatif", "a", "cpu.shares=300"]);
    let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["a", "100", "300", "25.0%", "50.0%", "0.250", "0.500", "+0.250"], "{text}");
    assert_eq!(ctx.ok(&["export", "a"]), before);
    assert_eq!(in_force(&ctx, "a", "cpu.shares").as_deref(), Some("100"));
    // It agrees with what comes of it.
    ctx.ok(&["set", "a", "cpu.shares=300"]);
    let rows = ctx.json(&["stat"]);
    let of =
        |zone: &str| rows["stats"].as_array().unwrap().iter().find(|r| r["zone"] == zone).unwrap().clone();
    assert_eq!(
        (&of("a")["entitlement"]["cpus"], &of("b")["entitlement"]["cpus"]),
        (&0.5.into(), &0.5.into())
    );
    ctx.finish();
}

#[test]
fn what_set_refuses_is_refused() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a");
    for (value, says) in [
        ("cpu.shares=20000", "cpu.shares: 20000 is not between 0 and 10000"),
        ("cpu.shares=many", "cpu.shares"),
        ("cpu.cpus=0-4000", "cpu.cpus: this host's zones have no CPU"),
        ("cpu.weight=5", "unknown field `weight`"),
        ("memory.limit=1G", "memory.limit: changes nothing of what zones are entitled to"),
        ("cpus=0", "cpus: changes nothing"),
    ] {
        ctx.zonectl(&["whatif", "a", value]).fails(1, says);
    }
    ctx.zonectl(&["whatif", "b", "cpu.shares=5"]).fails(1, "no such zone");
    ctx.zonectl(&["whatif", "a"]).fails(2, "KEY=VALUE");
    ctx.finish();
}
