//! Texts that are no configuration: malformed, oversized, unknown, contradictory. Each is refused by zonectl and,
//! since others may speak to it, by the daemon itself, with the place and the reason, and nothing is kept.

use std::fs;

use serde_json::json;
use zone_tests::{TestCtx, Wire, run_with};

/// Texts with what is said against them.
const BAD: &[(&str, &str)] = &[
    // No YAML, or none of this form.
    ("", "the text is empty; the least is `zone: NAME`"),
    ("zone", "line 1"),
    ("[]", "line 1"),
    ("- zone: a", "line 1"),
    ("zone: [", "line 1"),
    ("zone: a\n  autoboot: true", "line 1"),
    ("zone: a\n\tautoboot: true", "line 2"),
    ("zone: 'a", "line 1"),
    ("zone: *nothing", "line 1"),
    ("%!$", "line 1"),
    ("zone: a\nzone: b", "line 2, column 1: duplicate key `zone`"),
    ("zone: a\n---\nzone: b", "more than one document"),
    // Keys that are not there.
    ("zone: a\nautobot: true", "line 2, column 1: unknown field `autobot`"),
    ("zone: a\nroot: { sparse: true, quotum: 10G }", "unknown field `quotum`"),
    ("zone: a\nmemory: { limits: 512M }", "unknown field `limits`"),
    ("zone: a\nfs: [{ source: /a, target: /b, option: [ro] }]", "unknown field `option`"),
    ("zone: a\nprocess: { command: [x], exec: y }", "unknown field `exec`"),
    ("autoboot: true", "missing field `zone`"),
    ("zone: a\nfs: [{ source: /a }]", "missing field `target`"),
    // Values of the wrong kind.
    ("zone: a\nautoboot: 7", "line 2"),
    ("zone: a\nautoboot: maybe", "line 2"),
    ("zone: a\norder: -1", "line 2"),
    ("zone: a\norder: 4294967296", "line 2"),
    ("zone: a\norder: first", "line 2"),
    ("zone: a\nafter: b", "line 2"),
    ("zone: a\nprocess: none", "line 2, column 10: `process` takes a mapping, like { command: ["),
    ("zone: a\nprocess: { command: ls -l }", "line 2"),
    ("zone: a\nfs: { source: /a, target: /b }", "line 2"),
    ("zone: a\nfs: [{ source: /a, target: /b, options: [sync] }]", "`fs[0].options[0]` takes one of ro, rw"),
    ("zone: { name: a }", "line 1"),
    // Values that cannot be.
    ("zone: a\nroot: { image: bookworm }", "use debian:SUITE, tar:/FILE or dir:/PATH"),
    ("zone: a\nroot: { image: 'oci:debian' }", "unknown kind"),
    ("zone: a\nroot: { image: 'debian:' }", "bookworm"),
    ("zone: a\nroot: { image: 'debian:--option' }", "bookworm"),
    ("zone: a\nroot: { image: 'debian:../../x' }", "bookworm"),
    ("zone: a\nroot: { image: 'tar:relative.tar' }", "must be absolute"),
    ("zone: a\nroot: { image: 'dir:.' }", "must be absolute"),
    ("zone: a\nroot: { image: \"tar:/a\\0b\" }", "NUL"),
    ("zone: a\nhostname: ''", "hostname"),
    ("zone: a\nhostname: a_b", "hostname"),
    ("zone: a\nhostname: -a", "hostname"),
    ("zone: a\nbrand: solaris", "solaris"),
    ("zone: a\nbrand: ../../etc/passwd", "brand"),
    ("zone: a\nfs: [{ source: srv, target: /b }]", "fs[0].source"),
    ("zone: a\nfs: [{ source: /srv, target: b }]", "fs[0].target"),
    ("zone: a\nfs: [{ source: /srv, target: /b/../../etc }]", "fs[0].target"),
    ("zone: a\nfs: [{ source: /srv, target: / }]", "fs[0].target"),
    ("zone: a\nfs: [{ source: \"/s\\0rv\", target: /b }]", "NUL"),
    ("zone: a\ndevice: [{ match: /etc/shadow }]", "device[0].match"),
    ("zone: a\ndevice: [{ match: /dev/../etc/shadow }]", "device[0].match"),
    ("zone: a\ndevice: [{ match: /dev/ }]", "device[0].match"),
    ("zone: a\nlimitpriv: []", "limitpriv: the list is empty"),
    ("zone: a\nlimitpriv: ['']", "limitpriv"),
    ("zone: a\nlimitpriv: [CAP_SYS_ADMIN]", "limitpriv"),
    ("zone: a\nlimitpriv: [default, no_such_privilege]", "no_such_privilege"),
    ("zone: a\nprocess: { command: [''] }", "process.command"),
    ("zone: a\nprocess: { command: [\"a\\0b\"] }", "NUL"),
    ("zone: a\nprocess: { env: { 'A=B': c } }", "process.env"),
    ("zone: a\nprocess: { env: { '': c } }", "process.env"),
    ("zone: a\nprocess: { init: sbin/init }", "process.init"),
    ("zone: a\nprocess: { cwd: tmp }", "process.cwd"),
    // Values that contradict each other.
    ("zone: a\nroot: { sparse: true, image: debian:bookworm }", "contradict"),
    ("zone: a\nroot: { sparse: false }", "no source is given"),
    ("zone: a\nroot: {}", "no source is given"),
    ("zone: a\nfs: [{ source: /a, target: /b, options: [ro, rw] }]", "contradict"),
    ("zone: a\nafter: [b, a]", "cannot wait for itself"),
    ("zone: a\nprocess: { init: /sbin/init, user: alice }", "process.user"),
];

#[test]
fn each_bad_text_is_refused_with_its_reason_and_nothing_is_kept() {
    let ctx = TestCtx::new();
    let mut wire = Wire::connect(&ctx.socket());
    let mut wrong = Vec::new();
    for (text, says) in BAD {
        let said = run_with(ctx.command(&["create", "-f", "-"]), text.as_bytes()).refuses(1, "");
        if !said.contains(says) {
            wrong.push(format!("{text:?}: zonectl does not say {says:?} but {said:?}"));
        }
        for method in ["Create", "Verify"] {
            let reply = wire.call(method, json!({ "yaml": text }));
            let message = reply["parameters"]["message"].as_str().unwrap_or_default();
            if reply["error"] != "io.zoned.Manager.Invalid" || !message.contains(says) {
                wrong.push(format!("{text:?}: {method} does not say {says:?} but {reply}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(ctx.json(&["list"])["zones"], json!([]));
    assert_eq!(fs::read_dir(ctx.dir.join("lib/zones")).unwrap().count(), 0);
    ctx.finish();
}

#[test]
fn a_text_is_bounded_in_size_depth_and_what_it_unfolds_to() {
    let ctx = TestCtx::new();
    let create = |text: &str| run_with(ctx.command(&["create", "-f", "-"]), text.as_bytes());
    let limit = zoned_api::config::MAX_TEXT;
    let padded = |len: usize| format!("zone: a\n#{}\n", "x".repeat(len - 10));
    let endless = "[".repeat(100_000);
    let laughs: String = (1..30).map(|i| format!("l{i}: &l{i} [*l{0}, *l{0}, *l{0}]\n", i - 1)).collect();
    for (what, text) in [
        ("a byte too much", padded(limit + 1)),
        ("a megabyte", padded(1 << 20)),
        ("deep", format!("zone: {endless}")),
        ("laughs", format!("l0: &l0 [ha, ha, ha]\n{laughs}zone: *l29\n")),
    ] {
        let began = std::time::Instant::now();
        create(&text).refuses(1, "");
        let mut wire = Wire::connect(&ctx.socket());
        let reply = wire.call("Create", json!({ "yaml": text }));
        assert_eq!(reply["error"], "io.zoned.Manager.Invalid", "{what}: {}", reply.to_string().len());
        assert!(reply.to_string().len() < 2000, "{what}: the refusal is as large as the text");
        assert!(began.elapsed() < zone_tests::wait::limit(5), "{what}: took {:?}", began.elapsed());
    }
    // As much as is allowed is allowed, and comes back as it was.
    create(&padded(limit)).ok();
    assert_eq!(ctx.ok(&["export", "a"]), padded(limit));
    ctx.finish();
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let ctx = TestCtx::new();
    for bytes in [&b"zone: \xff\xfe"[..], b"zone: a\n# \x80", b"\0\0\0\0", b"zone: a\x01", b"\xff\xfez\0o\0"]
    {
        run_with(ctx.command(&["create", "-f", "-"]), bytes).refuses(1, "");
    }
    for (file, says) in
        [("/nonexistent/web.yaml", "No such file"), ("/proc/self/mem", ""), ("/etc", "directory")]
    {
        ctx.zonectl(&["create", "-f", file]).refuses(1, says);
        ctx.zonectl(&["verify", file]).refuses(1, says);
    }
    assert_eq!(ctx.json(&["list"])["zones"], json!([]));
    ctx.finish();
}

#[test]
fn what_a_text_says_is_told_without_what_steers_a_terminal() {
    let ctx = TestCtx::new();
    for text in [
        "zone: \"a\\x1b]0;owned\\x07\"",
        "zone: a\n\"\\x1b[2J\": 1",
        "zone: a\nbrand: \"\\x1b[31m\\u202e\"",
        "zone: a\nroot: { image: \"tar:\\x1b[31m\" }",
        "zone: a\nlimitpriv: [\"\\x9b\"]",
    ] {
        // The shape is checked for control characters.
        let said = run_with(ctx.command(&["create", "-f", "-"]), text.as_bytes()).refuses(1, "");
        assert!(!said.contains('\u{202e}'), "{said:?}");
    }
    ctx.finish();
}

#[test]
fn verify_fills_in_defaults_and_the_schema_knows_every_key() {
    let ctx = TestCtx::new();
    let filled = run_with(ctx.command(&["verify", "-"]), b"zone: a\nautoboot: true").ok();
    for line in
        ["zone: a", "brand: native", "autoboot: true", "order: 0", "hostname: a", "sparse: true", "fs: []"]
    {
        assert!(filled.contains(line), "no {line:?} in {filled}");
    }
    // It is a configuration itself, and its own whole.
    assert_eq!(run_with(ctx.command(&["verify", "-"]), filled.as_bytes()).ok(), filled);
    let schema: serde_json::Value = serde_json::from_str(&ctx.ok(&["schema"])).unwrap();
    let keys = schema["properties"].as_object().unwrap();
    let known = "zone brand autoboot order after online hostname root fs device net resolver limitpriv cpu memory tasks io process";
    assert_eq!(keys.len(), known.split(' ').count(), "{keys:?}");
    assert!(known.split(' ').all(|key| keys.contains_key(key)), "{keys:?}");
    assert_eq!(schema["additionalProperties"], false);
    ctx.finish();
}

#[test]
fn verify_warns_of_what_is_not_there() {
    let ctx = TestCtx::new();
    ctx.create("zone: db\nafter: [web]").ok();
    let text = b"zone: web\nafter: [db, nobody]\nroot: { image: 'tar:/no/such.tar' }\n\
        fs: [{ source: /no/such, target: /a }]\ndevice: [{ match: /dev/no-such }]";
    let outcome = run_with(ctx.command(&["verify", "-"]), text);
    for says in [
        "after: no zone nobody is there",
        "after: zones wait for each other and boot last: web after db after web",
        "root.image: /no/such.tar: No such file or directory",
        "fs[0].source: /no: No such file or directory",
        "device[0].match: /dev/no-such: No such file or directory",
    ] {
        assert!(
            outcome.stderr.contains(&format!("zonectl: warning: {says}\n")),
            "{says}: {}",
            outcome.stderr
        );
    }
    assert_eq!((outcome.code, outcome.stderr.lines().count()), (0, 5), "{}", outcome.stderr);
    let told = run_with(ctx.command(&["verify", "-", "--json"]), text).ok();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["config"]["zone"], "web");
    assert_eq!(told["warnings"].as_array().unwrap().len(), 5, "{told}");
    // What is there is no reason to warn.
    assert_eq!(ctx.zonectl(&["verify", "db", "--json"]).code, 0);
    ctx.create("zone: web").ok();
    assert_eq!(ctx.zonectl(&["verify", "db"]).stderr, "");
    ctx.finish();
}
