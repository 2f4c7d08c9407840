//! Names that are none, by every way in: never a path, never a line of a terminal, never another zone's.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};
use zone_tests::{TestCtx, Wire, run_with};

fn bad_names() -> Vec<String> {
    let fixed = [
        "",
        ".",
        "..",
        "../etc",
        "a/b",
        "/etc/passwd",
        "a/../../b",
        "-f",
        "--force",
        "_a",
        " a",
        "a b",
        "a\n",
        "a\nb",
        "a\tb",
        "a\0b",
        "\0",
        "\x1b[2J",
        "a\x1b]0;x\x07",
        "a\u{202e}b",
        "zürich",
        "東京",
        "a:b",
        "a*",
        "$(id)",
        "a;b",
        "global",
        "SYSTEM",
        "SYS",
        "a\u{7f}",
    ];
    fixed
        .map(str::to_owned)
        .into_iter()
        .chain(["x".repeat(64), "x".repeat(4000), "../".repeat(1300)])
        .collect()
}

/// Every path below a folder.
fn paths(folder: PathBuf) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            all.insert(entry.path());
        }
    }
    all
}

#[test]
fn no_way_in_takes_a_bad_name() {
    let ctx = TestCtx::new();
    ctx.create("zone: good").ok();
    let before = (paths(ctx.dir.join("lib")), paths(ctx.dir.join("run")));
    let mut wire = Wire::connect(&ctx.socket());
    for name in bad_names() {
        let yaml = json!({ "zone": name }).to_string();
        // As a configuration, through zonectl and past it.
        let said = run_with(ctx.command(&["create", "-f", "-"]), yaml.as_bytes())
            .refuses(1, "configuration: line 1");
        assert!(said.len() < 600, "{} bytes about a name of {}", said.len(), name.len());
        let reply = wire.call("Create", json!({ "yaml": yaml }));
        assert_eq!(reply["error"], "io.zoned.Manager.Invalid", "{name:?}: {reply}");
        // As another zone's new name, or as one it waits for.
        for key in ["zone", "after.0"] {
            let reply =
                wire.call("Set", json!({ "zone": "good", "values": { key: json!(name).to_string() } }));
            assert_eq!(reply["error"], "io.zoned.Manager.Invalid", "{name:?} as {key}: {reply}");
        }
        // As a zone that should be there.
        for method in ["Info", "Export", "Console", "ConsoleLog", "Install", "Stat", "Events", "Shutdown"] {
            let reply = wire.call(method, json!({ "zone": name }));
            let host = name == "global" && method == "Stat";
            assert!(host || reply["error"] == "io.zoned.Manager.NoSuchZone", "{method} {name:?}: {reply}");
            assert!(reply.to_string().len() < 5000 || host, "{method}: {}", reply.to_string().len());
        }
        let reply = wire.call("Do", json!({ "zone": name, "verb": "delete" }));
        assert_eq!(reply["error"], "io.zoned.Manager.NoSuchZone", "{name:?}: {reply}");
    }
    assert_eq!((paths(ctx.dir.join("lib")), paths(ctx.dir.join("run"))), before, "something was made");
    assert_eq!(ctx.json(&["list"])["zones"].as_array().unwrap().len(), 1);
    ctx.finish();
}

#[test]
fn the_command_line_refuses_them_before_it_asks() {
    let ctx = TestCtx::new();
    for name in bad_names().iter().filter(|name| !name.contains('\0')) {
        for args in [&["boot", "--"][..], &["info", "--"], &["export", "--"], &["create", "--"]] {
            if name == "global" && args[0] == "info" {
                // The host's own processes, of which there is something to tell.
                continue;
            }
            let mut args = args.to_vec();
            args.push(name);
            let said = ctx.zonectl(&args).fails(2, "zonectl: ");
            assert!(!said.contains('\x1b') && said.len() < 6000, "{args:?}: {said:?}");
        }
    }
    ctx.finish();
}

#[test]
fn every_name_that_is_allowed_works_and_names_no_file() {
    let ctx = TestCtx::new();
    let longest = "x".repeat(63);
    for name in ["a", "0", "1e3", "null", "true", "on", "a.b-c_D", "Web", "web", "x--help", "con.", &longest]
    {
        let yaml = json!({ "zone": name }).to_string();
        run_with(ctx.command(&["create", "-f", "-"]), yaml.as_bytes()).ok();
        ctx.ok(&["install", name]);
        assert_eq!(ctx.info(name)["zone"], *name);
        let uuid = ctx.info(name)["uuid"].as_str().unwrap().to_owned();
        assert_eq!(ctx.info(&uuid)["zone"], *name, "by its UUID");
        let named = |path: &PathBuf| path.file_name().is_some_and(|file| file == name);
        assert!(!paths(ctx.dir.join("lib/zones")).iter().any(named), "a file is named {name}");
    }
    ctx.ok(&["boot", &longest]);
    assert_eq!(ctx.ok(&["exec", &longest, "uname", "-n"]).trim(), longest);
    ctx.finish();
}

#[test]
fn a_zone_named_like_anothers_uuid_is_not_mixed_up_with_it() {
    let ctx = TestCtx::new();
    ctx.create("zone: victim").ok();
    let uuid = ctx.info("victim")["uuid"].as_str().unwrap().to_owned();
    let outcome = ctx.create(&format!("zone: {uuid}"));
    if outcome.code == 0 {
        // Then it is found by its name, and the other by its own.
        assert_ne!(ctx.info(&uuid)["uuid"], Value::from(uuid.as_str()));
        ctx.ok(&["delete", "--force", &uuid]);
    }
    assert_eq!(ctx.info("victim")["uuid"], Value::from(uuid.as_str()), "the other zone was hit");
    ctx.finish();
}
