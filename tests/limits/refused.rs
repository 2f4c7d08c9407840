//! What cannot be, on no host or on this one, is refused with the reason, and nothing is half made.

use zone_tests::TestCtx;

use crate::in_force;

#[test]
fn what_cannot_be_is_refused_where_it_is_written() {
    let ctx = TestCtx::new();
    ctx.boot("zone: a\ncpu: { shares: 5 }");
    let before = ctx.ok(&["export", "a"]);
    let cases = [
        ("cpu.shares=1000000000", "cpu.shares: 1000000000 is not between 0 and 10000"),
        ("cpu.shares=-1", "cpu.shares"),
        ("cpu.shares=many", "cpu.shares"),
        ("cpu.cap=0", "cpu.cap: 0 is not between 0.01"),
        ("cpu.cap=.nan", "cpu.cap: NaN is not between"),
        ("cpu.cpus=0-4000", "cpu.cpus: this host's zones have no CPU"),
        ("cpu.cpus=x", "is no list of CPUs"),
        ("cpu.dedicated=true", "cpu.dedicated: which CPUs it has for itself is not said"),
        ("memory.limit=4096", "memory.limit: 4K is too little for a zone to start in; 8M is the least"),
        ("memory.limit=1MB", "is no size"),
        ("tasks.max=0", "tasks.max: 0 is not between 8 and 4194304"),
        ("io.read=4K", "io.read: 4K a second is too little for a zone; 1M is the least"),
        ("io.write=fast", "is no size"),
        ("io.write-iops=1", "io.write-iops: 1 is not between 50 and 1000000000"),
        ("io.weight=100000", "io.weight: 100000 is not between 1 and 1000"),
        ("cpu.weight=5", "unknown field `weight`"),
    ];
    for (value, says) in cases {
        ctx.zonectl(&["set", "a", value, "order=7"]).fails(1, says);
    }
    assert_eq!(ctx.ok(&["export", "a"]), before);
    assert_eq!(in_force(&ctx, "a", "cpu.shares").as_deref(), Some("5"));
    ctx.create("zone: b\ncpu: { shares: 1000000000 }").fails(1, "cpu.shares");
    ctx.zonectl(&["info", "b"]).fails(1, "no such zone");
    let schema = ctx.ok(&["schema"]);
    for key in ["shares", "cap", "cpus", "swap", "weight"] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
    assert!(ctx.ok(&["verify", "a"]).contains("shares: 5"));
    ctx.finish();
}

/// What `doctor` says of a limit and what `create` does with it are the same.
#[test]
fn doctor_knows_what_is_refused() {
    let ctx = TestCtx::new();
    let cases = [
        ("cpu.shares", "cpu: { shares: 9 }"),
        ("cpu.shares 0", "cpu: { shares: 0 }"),
        ("cpu.cap", "cpu: { cap: 1 }"),
        ("cpu.cpus", "cpu: { cpus: 0 }"),
        ("cpu.dedicated", "cpu: { cpus: 0, dedicated: true }"),
        ("memory.limit", "memory: { limit: 64M }"),
        ("memory.high", "memory: { high: 64M }"),
        ("memory.swap", "memory: { limit: 64M, swap: 0 }"),
        ("tasks.max", "tasks: { max: 99 }"),
        ("io.weight", "io: { weight: 99 }"),
        ("io.read", "io: { read: 9M }"),
        ("io.write", "io: { write: 9M }\nroot: { sparse: true, quota: 64M }"),
        ("io.read-iops", "io: { read-iops: 99 }"),
        ("io.write-iops", "io: { write-iops: 99 }\nroot: { sparse: true, quota: 64M }"),
    ];
    let findings = ctx.json(&["doctor"]);
    let findings = findings["findings"].as_array().unwrap();
    for (number, (subject, keys)) in cases.iter().enumerate() {
        let finding =
            findings.iter().find(|f| f["subject"] == *subject).unwrap_or_else(|| panic!("{subject}"));
        let made = ctx.create(&format!("zone: z{number}\n{keys}"));
        assert_eq!(made.code == 0, finding["verdict"] == "good", "{finding}: {made:?}");
        if made.code != 0 {
            let key = subject.split(' ').next().unwrap();
            assert!(made.stderr.contains(&format!("configuration: {key}: ")), "{made:?}");
            assert!(made.stderr.contains("  try: "), "{made:?}");
        }
    }
    ctx.finish();
}
