//! Answers, errors and exit statuses.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use zoned_api::{ApiError, Fault, Method, Reply, State, Verb, ZoneStat, stat::ProcessStat};

use crate::scripted::{Answer, Daemon, done, finish, interrupt, reply, told};

/// A configuration of a zone, as the daemon would give it.
fn text(of: &str) -> Answer {
    reply(Reply::Text { text: of.into() })
}

fn zone(name: &str, state: State) -> Answer {
    let zone = serde_json::json!({
        "zone": name, "uuid": "6e1c9f04-58a7-4b0c-9a0b-1f6a5c1f0d11", "state": state, "brand": "native",
        "boot": 0, "id_base": 536_870_912, "config": { "zone": name },
    });
    reply(Reply::Zones { zones: vec![serde_json::from_value(zone).unwrap()] })
}

#[test]
fn nobody_there() {
    let daemon = Daemon::new(|_, _| Answer::HangUp);
    let out = daemon.zonectl(&["list", "--socket", "/nonexistent/zoned.sock"]).output().unwrap();
    let (_, err, code) = told(&out);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("zonectl: /nonexistent/zoned.sock: zoned does not run"), "{err}");
    assert!(err.contains("\n  try: start the daemon"), "{err}");
}

#[test]
fn a_daemon_that_hangs_up_or_is_older_is_told_of() {
    let (_, err, code) = told(&Daemon::new(|_, _| Answer::HangUp).run(&["list"]));
    assert!(code == Some(1) && err.contains("the connection to zoned broke"), "{err}");
    let old = Daemon::of_version(0, |_, _| unreachable!("nothing must be asked of it"));
    let (_, err, code) = told(&old.run(&["list"]));
    assert!(
        code == Some(1) && err.contains("version 0 of the API") && err.contains("restart zoned"),
        "{err}"
    );
    let lacking = Daemon::new(|_, _| Answer::Error(ApiError::MethodNotFound { method: "x.List".into() }));
    let (_, err, _) = told(&lacking.run(&["list"]));
    assert!(err.contains("has no method x.List\n  try: zonectl is newer than zoned"), "{err}");
    let confused = Daemon::new(|_, _| reply(Reply::Text { text: "\x1b[2J".repeat(100) }));
    let (_, err, _) = told(&confused.run(&["list"]));
    assert!(err.contains("not what was asked for") && !err.contains('\x1b') && err.len() < 300, "{err}");
}

#[test]
fn each_zone_is_tried_and_reported() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Do { zone, verb: Verb::Boot, .. } if zone == "bad" => Answer::Error(ApiError::WrongState {
            zone,
            state: State::Configured,
            verb: Verb::Boot,
            hint: "`zonectl install bad` first".into(),
        }),
        Method::Do { .. } => {
            let step = Reply::Progress { step: "mounting".into(), amount: None };
            let note = Some("it was running already".into());
            Answer::Replies(vec![step, Reply::Done { state: Some(State::Running), note }], Vec::new())
        }
        other => unreachable!("{other:?}"),
    });
    let (out, err, code) = told(&daemon.run(&["boot", "a", "bad", "b"]));
    assert_eq!(out, "zone a: running (it was running already)\nzone b: running (it was running already)\n");
    assert_eq!(
        err,
        "zonectl: zone bad: cannot boot while it is configured\n  try: `zonectl install bad` first\n"
    );
    assert_eq!(code, Some(1));
    let (out, _, code) = told(&daemon.run(&["boot", "a", "--quiet"]));
    assert_eq!((out.as_str(), code), ("", Some(0)));
}

#[test]
fn nothing_is_lost_without_a_yes() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Info { zone: name } if name == "nobody" => Answer::Error(ApiError::NoSuchZone { zone: name }),
        Method::Info { zone: name } => {
            let state = if name.starts_with("new") { State::Configured } else { State::Installed };
            zone(&name, state)
        }
        Method::Do { uuid: Some(_), verb: Verb::Delete | Verb::Uninstall, .. } => {
            reply(Reply::Done { state: None, note: None })
        }
        other => Answer::Error(ApiError::failed(format!("{other:?} must not be asked"), None)),
    });
    let (out, err, code) = told(&daemon.run(&["uninstall", "a", "new", "b"]));
    assert!(out.is_empty() && code == Some(1), "{out}");
    assert!(err.contains("uninstall of zones a, b needs --force when the input is no terminal"), "{err}");
    let (out, err, code) = told(&daemon.run(&["uninstall", "a", "nobody", "b", "--force"]));
    assert_eq!((out.as_str(), code), ("zone a: deleted\nzone b: deleted\n", Some(1)));
    assert!(err.starts_with("zonectl: zone nobody: no such zone"), "{err}");
    // Where nothing was written nothing is asked.
    for verb in ["uninstall", "delete"] {
        let (out, err, code) = told(&daemon.run(&[verb, "new", "new2"]));
        let both = "zone new: deleted\nzone new2: deleted\n";
        assert_eq!((out.as_str(), err.as_str(), code), (both, "", Some(0)), "{verb}");
    }
}

/// Starts a verb of which the daemon tells one step and no end, interrupts it there, and returns what it says.
fn interrupted(args: &[&str]) -> String {
    let (tell, asked) = mpsc::channel();
    let daemon = Daemon::new(move |method, _| match method {
        Method::Install { .. } | Method::Do { .. } | Method::Shutdown { .. } => {
            tell.send(()).unwrap();
            Answer::Unfinished(Reply::Progress { step: "at it".into(), amount: None })
        }
        other => unreachable!("{other:?}"),
    });
    let mut zonectl = daemon.zonectl(args);
    let mut child = zonectl.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    asked.recv_timeout(Duration::from_secs(20)).unwrap();
    interrupt(&child);
    let mut said = child.stderr.take().unwrap();
    assert_eq!(finish(child, Duration::from_secs(20)).code(), Some(130));
    let mut err = String::new();
    said.read_to_string(&mut err).unwrap();
    err
}

#[test]
fn an_interrupted_wait_says_that_the_work_goes_on() {
    let err = interrupted(&["install", "web"]);
    assert!(
        err.ends_with(
            "zonectl: interrupted; install of zone web goes on in zoned\n  try: `zonectl events web --follow` \
             shows how it goes on, `zonectl halt web` breaks it off\n"
        ),
        "{err}"
    );
    let err = interrupted(&["boot", "a", "b", "--quiet"]);
    assert!(err.contains("boot of zone a goes on in zoned; boot of zone b was not begun\n"), "{err}");
    let err = interrupted(&["shutdown", "web"]);
    assert!(err.contains("shutdown of zone web goes on") && err.contains("`zonectl halt web`"), "{err}");
    assert!(!interrupted(&["halt", "web"]).contains("breaks it off"));
}

#[test]
fn a_login_is_called_one() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Exec { zone, .. } => {
            let (verb, hint) = (Verb::Exec, "resume it first".into());
            Answer::Error(ApiError::WrongState { zone, state: State::Paused, verb, hint })
        }
        other => unreachable!("{other:?}"),
    });
    let (_, err, _) = told(&daemon.run(&["login", "web", "ls", "-l"]));
    assert!(err.contains("takes no command\n  try: `zonectl exec web -- ls -l` runs one"), "{err}");
    let (_, err, code) = told(&daemon.run(&["login", "web"]));
    assert_eq!(err, "zonectl: zone web: cannot log in while it is paused\n  try: resume it first\n");
    assert_eq!(code, Some(125));
}

#[test]
fn an_edit_without_a_terminal_names_other_ways() {
    let daemon = Daemon::new(|_, _| unreachable!("nothing must be asked"));
    let mut edit = daemon.zonectl(&["edit", "web"]);
    let done = edit.env_remove("VISUAL").env_remove("EDITOR").stdin(Stdio::null()).output().unwrap();
    let (_, err, code) = told(&done);
    assert!(code == Some(1) && err.starts_with("zonectl: zone web: an editor needs a terminal"), "{err}");
    assert!(
        err.contains("`zonectl set web KEY=VALUE`") && err.contains("`zonectl edit web -f FILE`"),
        "{err}"
    );
}

#[test]
fn a_number_is_an_interval_unless_it_is_said_to_be_a_zone() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Stat { zone } => {
            let of = zone.unwrap_or_else(|| "1".into());
            let processes = ProcessStat { tasks: Some(3), ..ProcessStat::default() };
            let stat = ZoneStat { zone: of, at_ns: 1, processes, ..ZoneStat::default() };
            reply(Reply::Stats { stats: vec![stat] })
        }
        other => unreachable!("{other:?}"),
    });
    let (out, err, code) = told(&daemon.run(&["stat", "--zone", "1"]));
    assert!(out.lines().nth(1).unwrap().starts_with("1 ") && err.is_empty() && code == Some(0), "{out}{err}");
    let (_, err, _) = told(&daemon.run(&["stat", "1", "0"]));
    assert_eq!(err, "1 is taken for an interval; `zonectl stat --zone 1` is the zone\n");
}

#[test]
fn zones_can_be_listed_by_name() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Info { zone: name } if name == "nobody" => Answer::Error(ApiError::NoSuchZone { zone: name }),
        Method::Info { zone: name } => zone(&name, State::Installed),
        other => unreachable!("{other:?}"),
    });
    let (out, _, code) = told(&daemon.run(&["list", "-H", "-o", "name", "b", "a"]));
    assert_eq!((out.as_str(), code), ("b\na\n", Some(0)));
    let (out, err, code) = told(&daemon.run(&["list", "a", "nobody"]));
    assert!(out.is_empty() && err.contains("zone nobody: no such zone") && code == Some(1), "{out}{err}");
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let daemon = Daemon::new(|method, _| match method {
        Method::List {} => zone("web", State::Configured),
        other => unreachable!("{other:?}"),
    });
    for args in [
        &["help"][..],
        &["help", "boot"],
        &["--version"],
        &["completions", "bash"],
        &["schema"],
        &["list"],
        &["list", "--json"],
        &["version"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let (_, err, code) = told(&daemon.zonectl(args).stdout(full).output().unwrap());
        assert_eq!((err.as_str(), code), ("zonectl: stdout: No space left on device\n", Some(1)), "{args:?}");
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let (_, err, code) = told(&daemon.zonectl(args).stdout(writer).output().unwrap());
        assert_eq!((err.as_str(), code), ("", Some(0)), "{args:?}");
    }
}

#[test]
fn an_edit_that_is_refused_keeps_the_text() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Export { .. } => text("zone: web\n"),
        Method::Edit { base, yaml, .. }
            if base.as_deref() == Some("zone: web\n") && yaml.contains("order") =>
        {
            let message = "zone web: its configuration was changed meanwhile".into();
            Answer::Error(ApiError::Invalid(Fault { message, hint: None }))
        }
        Method::Edit { .. } => done(State::Configured),
        other => unreachable!("{other:?}"),
    });
    let edit = |editor: &str| {
        let mut command = daemon.zonectl(&["edit", "web"]);
        told(&command.env("VISUAL", editor).stdin(Stdio::null()).output().unwrap())
    };
    let (_, err, code) = edit("f() { echo 'order: 4' >> $1; }; f");
    assert!(code == Some(1) && err.contains("changed meanwhile\n"), "{err}");
    let path = err.split("kept in ").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "zone: web\norder: 4\n");
    fs::remove_file(path).unwrap();
    let (_, err, code) = edit("f() { echo 'ordre: 4' >> $1; }; f");
    assert!(code == Some(1) && err.contains("line 2, column 1: unknown field `ordre`"), "{err}");
    fs::remove_file(err.split("kept in ").nth(1).unwrap().lines().next().unwrap()).unwrap();
    let (out, _, code) = edit("f() { echo 'autoboot: true' >> $1; }; f");
    assert_eq!((out.as_str(), code), ("zone web: configured\n", Some(0)));
    assert!(edit("true").1.contains("nothing was changed"));
    assert!(edit("false").1.contains("the editor false failed"));
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Export { .. } => text(&"x".repeat(1 << 20)),
        other => unreachable!("{other:?}"),
    });
    let mut zonectl = daemon.zonectl(&["export", "web"]);
    let mut child = zonectl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let (_, err, code) = told(&child.wait_with_output().unwrap());
    assert_eq!((err.as_str(), code), ("", Some(0)));
}

#[test]
fn following_ends_with_its_reader() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Events { follow: true, .. } => {
            // One event, and then nothing more for as long as anybody waits.
            let event = serde_json::json!({ "seq": 1, "time_ms": 0, "kind": "lost", "count": 7 });
            let events = vec![serde_json::from_value(event).unwrap()];
            Answer::Unfinished(Reply::Events { events, missed: 0 })
        }
        other => unreachable!("{other:?}"),
    });
    let mut child = daemon.zonectl(&["events", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("7 process events were lost"), "{line}");
    drop(reader);
    assert_eq!(finish(child, Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn an_audit_that_finds_something_fails() {
    let left = |n: usize| {
        let one = serde_json::json!({ "kind": "cgroup", "object": "/zones/x.1" });
        Reply::Leftovers { leftovers: vec![serde_json::from_value(one).unwrap(); n] }
    };
    assert_eq!(told(&Daemon::new(move |_, _| reply(left(0))).run(&["audit"])).2, Some(0));
    let (out, _, code) = told(&Daemon::new(move |_, _| reply(left(2))).run(&["audit", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((json["leftovers"].as_array().unwrap().len(), code), (2, Some(1)));
}

#[test]
fn usage_errors_are_two_and_help_is_none() {
    let daemon = Daemon::new(|_, _| unreachable!("nothing must be asked"));
    for args in [&["boot"][..], &["boot", "a/b"], &["nonsense"], &["create", "--set", "x"], &["exec", "web"]]
    {
        assert_eq!(daemon.run(args).status.code(), Some(2), "{args:?}");
    }
    let (out, _, code) = told(&daemon.run(&["help", "exec"]));
    assert!(code == Some(0) && out.contains("zonectl exec web -- apt-get update"), "{out}");
    let (out, _, code) = told(&daemon.run(&["schema"]));
    assert!(code == Some(0) && serde_json::from_str::<serde_json::Value>(&out).is_ok());
}

#[test]
fn manual_pages_and_completions_are_written() {
    let daemon = Daemon::new(|_, _| unreachable!("nothing must be asked"));
    let (_, err, code) = told(&daemon.run(&["man", "boot"]));
    assert!(code == Some(1) && err.contains("`zonectl help boot` explains the verb"), "{err}");
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    assert!(daemon.run(&["man", pages.to_str().unwrap()]).status.success());
    for page in ["zonectl.1", "zonectl-exec.1", "zonectl-cp.1"] {
        assert!(fs::read_to_string(pages.join(page)).unwrap().contains(".SH"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(told(&daemon.run(&["completions", shell])).0.contains("uninstall"), "{shell}");
    }
}

#[test]
fn a_shutdown_leaves_the_time_to_the_brand_unless_one_is_given() {
    let daemon = Daemon::new(|method, _| match method {
        Method::Shutdown { timeout, .. } => {
            reply(Reply::Done { state: Some(State::Installed), note: Some(format!("{timeout:?}")) })
        }
        other => unreachable!("{other:?}"),
    });
    assert_eq!(told(&daemon.run(&["shutdown", "a"])).0, "zone a: installed (None)\n");
    assert_eq!(told(&daemon.run(&["shutdown", "a", "--timeout", "7"])).0, "zone a: installed (Some(7))\n");
}
