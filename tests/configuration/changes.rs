//! `set`, `edit`, `export`: what may be changed when, and that nothing is changed by half.

use std::fs;

use zone_tests::{Outcome, TestCtx, run, run_with};

fn edit(ctx: &TestCtx, zone: &str, text: &str) -> Outcome {
    run_with(ctx.command(&["edit", zone, "-f", "-"]), text.as_bytes())
}

#[test]
fn a_running_zone_takes_changes_with_its_next_boot() {
    let ctx = TestCtx::new();
    ctx.boot("zone: z\nprocess: { env: { COLOUR: red } }");
    let colour = || ctx.ok(&["exec", "z", "--", "sh", "-c", "echo $COLOUR; uname -n"]);
    let said = ctx.ok(&["set", "z", "process.env.COLOUR=blue", "hostname=changed"]);
    assert!(said.contains("takes effect when the zone is booted next"), "{said}");
    assert_eq!(colour(), "red\nz\n");
    let config = ctx.info("z")["config"].clone();
    assert_eq!(
        (&config["process"]["env"]["COLOUR"], &config["hostname"]),
        (&"blue".into(), &"changed".into())
    );
    ctx.ok(&["reboot", "z"]);
    assert_eq!(colour(), "blue\nchanged\n");

    let text = ctx.ok(&["export", "z"]).replace("blue", "green");
    edit(&ctx, "z", &text).ok();
    assert_eq!(colour(), "blue\nchanged\n");
    ctx.ok(&["shutdown", "--reboot", "z"]);
    assert_eq!(colour(), "green\nchanged\n");
    ctx.finish();
}

#[test]
fn a_reboot_that_could_not_boot_leaves_the_zone_running() {
    let ctx = TestCtx::new();
    let shown = ctx.dir.join("shown");
    fs::create_dir(&shown).unwrap();
    ctx.boot(&format!("zone: z\nfs: [{{ source: {}, target: /shown }}]", shown.display()));
    fs::remove_dir(&shown).unwrap();
    for verb in [&["reboot", "z"][..], &["shutdown", "--reboot", "z"]] {
        let said = ctx.zonectl(verb).refuses(1, "fs[0].source");
        assert!(said.contains("  try: the zone runs on"), "{said}");
        assert_eq!(ctx.ok(&["exec", "z", "--", "echo", "alive"]), "alive\n");
    }
    fs::create_dir(&shown).unwrap();
    ctx.ok(&["reboot", "z"]);
    ctx.finish();
}

#[test]
fn brand_and_root_are_fixed_once_installed_and_the_name_while_it_is_up() {
    let ctx = TestCtx::new();
    ctx.create("zone: old").ok();
    ctx.create("zone: other").ok();
    ctx.zonectl(&["set", "old", "zone=other"]).refuses(1, "exists already");
    ctx.ok(&["set", "old", "zone=new"]);
    ctx.zonectl(&["info", "old"]).refuses(1, "no such zone");
    ctx.create("zone: old").ok();
    ctx.ok(&["install", "new"]);
    let says = "zone new: its root cannot be changed while it is installed";
    ctx.zonectl(&["set", "new", "root={ image: debian:bookworm }"]).refuses(1, says);
    let said = ctx.ok(&["set", "new", "zone=newer"]);
    assert!(said.contains("its name is newer now"), "{said}");
    ctx.ok(&["boot", "newer"]);
    let says = "zone newer: its name cannot be changed while it is running";
    ctx.zonectl(&["set", "newer", "zone=new"]).refuses(1, says);
    ctx.ok(&["halt", "newer"]);
    ctx.ok(&["set", "newer", "zone=new"]);
    ctx.zonectl(&["install", "new", "--from", "debian:bookworm"])
        .refuses(1, "cannot install while it is installed");
    ctx.ok(&["uninstall", "--force", "new"]);
    ctx.ok(&["set", "new", "zone=newest"]);
    assert_eq!(ctx.state("newest"), "configured");
    ctx.finish();
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let ctx = TestCtx::new();
    let text = "# kept as it was written\nzone: z\norder: 3   # a comment\n";
    ctx.create(text).ok();
    for (values, says) in [
        (&["order=many"][..], "order"),
        (&["order.x=1"], "order.x"),
        (&["=1"], ""),
        (&["order"], ""),
        (&["zone="], "zone"),
        (&["zone=../x"], "zone name"),
        (&["colour=red"], "unknown field `colour`"),
        (&["root.sparse=false"], "no source"),
        (&["root={ sparse: true, image: debian:bookworm }"], "contradict"),
        (&["fs.0={ source: /a, target: /b }"], "fs"),
        (&["fs.7.source=/a"], ""),
        (&["brand=solaris"], "solaris"),
        (&["fs=[{ source: /srv, target: /proc/x }]"], "covered by"),
        (&["fs=[{ source: /srv, target: /a }, { source: /srv, target: /a }]"], "hides fs[0]"),
        (&["after=[z]"], "wait for itself"),
        (&["order=5", "autoboot=perhaps"], "autoboot"),
        (&["process.command=[unclosed"], "YAML"),
    ] {
        let mut args = vec!["set", "z"];
        args.extend(values);
        let outcome = ctx.zonectl(&args);
        let code = if outcome.code == 2 { 2 } else { 1 };
        outcome.fails(code, says);
        assert_eq!(ctx.ok(&["export", "z"]), text, "{values:?} changed something");
    }
    edit(&ctx, "z", "zone: z\ncolour: red").refuses(1, "unknown field");
    edit(&ctx, "z", "").refuses(1, "the text is empty");
    edit(&ctx, "z", "order: 1").refuses(1, "missing field `zone`");
    assert_eq!(ctx.ok(&["export", "z"]), text);
    ctx.finish();
}

#[test]
fn of_two_who_edit_at_once_the_second_is_told() {
    let ctx = TestCtx::new();
    ctx.create("zone: z\norder: 1\n").ok();
    // The editor of the first: while it is open somebody sets a key.
    let script = ctx.dir.join("editor");
    let other = format!("{:?}", ctx.command(&["set", "z", "autoboot=true"]));
    fs::write(&script, format!("#!/bin/sh\n{other}\nsed -i \"s/order: 1/order: 2/\" \"$1\"\n")).unwrap();
    let mut command = ctx.command(&["edit", "z"]);
    command.env("EDITOR", format!("sh {}", script.display())).env_remove("VISUAL").env("TMPDIR", &ctx.dir);
    let said = run(command).fails(1, "its configuration was changed meanwhile");
    let text = ctx.ok(&["export", "z"]);
    assert!(text.contains("autoboot: true") && text.contains("order: 1"), "{text}");
    // What was typed is kept, where the error says.
    let kept = said.split_whitespace().find(|word| word.starts_with(ctx.dir.to_str().unwrap()));
    let kept = kept.unwrap_or_else(|| panic!("no file is named: {said}"));
    assert!(fs::read_to_string(kept.trim_end_matches(['`', '.'])).unwrap().contains("order: 2"), "{said}");
    ctx.finish();
}

#[test]
fn export_delete_create_gives_the_same_zone() {
    let ctx = TestCtx::new();
    let text = "# the web server\nzone: web\nautoboot: true\norder: 4\nafter: [db]\nhostname: web.example\n\
                fs: [{ source: /usr/share, target: /srv/share, options: [ro, noexec] }]\n\
                limitpriv: [default, '!net_raw']\n\
                process: { command: [sleep, '1000000'], env: { A: 'b c', EMPTY: '' }, cwd: /tmp, user: nobody }\n";
    ctx.create(text).ok();
    let before = ctx.info("web");
    assert_eq!(ctx.ok(&["export", "web"]), text, "comments and all");
    let file = ctx.dir.join("web.yaml");
    ctx.ok(&["export", "web", "-f", file.to_str().unwrap()]);
    ctx.ok(&["delete", "--force", "web"]);
    ctx.ok(&["create", "-f", file.to_str().unwrap()]);
    let after = ctx.info("web");
    assert_eq!(after["config"], before["config"]);
    assert_ne!(after["uuid"], before["uuid"], "an identity is never used again");
    assert_eq!(ctx.ok(&["export", "web"]), text);
    // It works, and a copy of it by another name beside it.
    ctx.ok(&["install", "web"]);
    ctx.ok(&["boot", "web"]);
    let inside =
        "id -un; uname -n; test -d /srv/share/doc && ! touch /srv/share/x 2>/dev/null && echo read-only";
    let mut command = ctx.command(&["exec", "web", "-u", "nobody", "--", "sh", "-c", inside]);
    command.env_remove("TERM");
    assert_eq!(run(command).ok(), "nobody\nweb.example\nread-only\n");
    ctx.ok(&["create", "copy", "-f", file.to_str().unwrap()]);
    assert_eq!(ctx.info("copy")["config"]["order"], 4);
    ctx.finish();
}

#[test]
fn what_would_be_lost_needs_force_where_nobody_can_be_asked() {
    let ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    ctx.ok(&["install", "z"]);
    ctx.zonectl(&["uninstall", "z"]).refuses(1, "needs --force");
    assert_eq!(ctx.state("z"), "installed");
    ctx.ok(&["uninstall", "-f", "z"]);
    // Nothing but a name is no loss, and nor is a root that is not there.
    ctx.ok(&["uninstall", "z"]);
    ctx.ok(&["set", "z", "order=3"]);
    ctx.zonectl(&["delete", "z"]).refuses(1, "needs --force");
    assert_eq!(ctx.state("z"), "configured");
    ctx.ok(&["set", "z", "order="]);
    ctx.ok(&["delete", "z"]);
    ctx.finish();
}
