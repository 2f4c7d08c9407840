//! Every verb in every state, against the table that the daemon's source draws: what is carried out, what there
//! is nothing to do for, and what is refused, as whoever types it sees it.

use std::{fs, process::Stdio};

use zone_tests::{Outcome, TestCtx, run, run_with};
use zoned_api::{ApiError, State, Verb};

use super::states::{Held, can_be, drive};

/// The verdict the table draws for a verb in a state: `do`, `ok` or `-`.
fn drawn(state: State, verb: Verb) -> &'static str {
    let source = include_str!("../../zoned/src/zone/transitions.rs");
    let lines = source.lines().filter_map(|line| line.strip_prefix("//! "));
    let mut rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.first() == Some(&state.as_str()) && row.len() == 1 + Verb::ALL.len());
    let column = Verb::ALL.iter().position(|v| *v == verb).unwrap();
    row.expect("a row of the table")[1 + column]
}

/// What the walk through says: the states in which each verb it names is carried out.
fn told(line: &str) -> Option<(Vec<Verb>, Vec<State>)> {
    let cells: Vec<_> = line.strip_prefix("| `")?.split('|').collect();
    let first = |quoted: &str| quoted.split(' ').next().map(str::to_owned);
    let words: Vec<_> = format!("`{}", cells[0]).split('`').skip(1).step_by(2).filter_map(first).collect();
    // `shutdown --reboot` is a reboot, which the same row names.
    let reboots = words.iter().any(|word| word == "reboot");
    let named =
        |verb: &Verb| words.iter().any(|w| w == verb.as_str()) && !(reboots && *verb == Verb::Shutdown);
    let verbs: Vec<_> = Verb::ALL.into_iter().filter(named).collect();
    let states = cells.get(1)?.split(';').next()?;
    let any = states.trim() == "any";
    let listed = |state: &State| any || states.split([',', ' ']).any(|word| word == state.as_str());
    Some((verbs, State::ALL.into_iter().filter(listed).collect()))
}

#[test]
fn the_walk_through_draws_the_same_table() {
    let text = include_str!("../../docs/zones.md");
    let table = text.split("| verb | legal when").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut seen = Vec::new();
    for (verbs, states) in table.lines().filter_map(told) {
        for verb in verbs {
            let carried_out: Vec<_> =
                State::ALL.into_iter().filter(|state| drawn(*state, verb) == "do").collect();
            assert_eq!(states, carried_out, "{verb}");
            seen.push(verb);
        }
    }
    assert_eq!(seen.len(), Verb::ALL.len(), "{seen:?}");
}

/// The state a verb leads to, as a person knows it from the manual; `gone` after a delete.
fn leads_to(state: State, verb: Verb) -> &'static str {
    match verb {
        Verb::Edit | Verb::Set | Verb::Exec | Verb::Console | Verb::Cp => state.as_str(),
        Verb::Delete => "gone",
        Verb::Uninstall => "configured",
        Verb::Install | Verb::Halt | Verb::Shutdown => "installed",
        Verb::Ready => "ready",
        Verb::Boot | Verb::Reboot | Verb::Resume => "running",
        Verb::Pause => "paused",
    }
}

/// Does what somebody at a shell would.
fn perform(ctx: &TestCtx, verb: Verb, zone: &str) -> Outcome {
    match verb {
        Verb::Edit => {
            let text = ctx.ok(&["export", zone]) + "\nhostname: edited\n";
            run_with(ctx.command(&["edit", zone, "-f", "-"]), text.as_bytes())
        }
        Verb::Set => ctx.zonectl(&["set", zone, "order=7"]),
        Verb::Delete => ctx.zonectl(&["delete", "--force", zone]),
        Verb::Uninstall => ctx.zonectl(&["uninstall", "--force", zone]),
        Verb::Shutdown => ctx.zonectl(&["shutdown", "--timeout", "30", zone]),
        Verb::Exec => ctx.zonectl(&["exec", zone, "--", "/bin/true"]),
        Verb::Console => type_and_see(ctx, zone),
        Verb::Cp => {
            let file = ctx.dir.join("a-file");
            fs::write(&file, "copied").unwrap();
            run({
                let mut cp = ctx.command(&["cp"]);
                cp.arg(file).arg(format!("{zone}:/root/"));
                cp
            })
        }
        verb => ctx.zonectl(&[verb.as_str(), zone]),
    }
}

/// Attaches to the console, types, and sees it echoed by the terminal itself, which needs no process of the
/// zone's; then goes. If the console is refused, that.
fn type_and_see(ctx: &TestCtx, zone: &str) -> Outcome {
    use std::io::{Read, Write};
    let mut command = ctx.command(&["console", zone]);
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Refused, it may be gone before this is written.
    let _ = child.stdin.as_mut().unwrap().write_all(b"anybody there\n");
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    let mut stdout = child.stdout.take().unwrap();
    while !seen.contains("anybody there") {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            n => seen.push_str(&String::from_utf8_lossy(&buffer[..n])),
        }
    }
    let attached = seen.contains("anybody there");
    if attached {
        child.kill().unwrap();
    }
    let ended = child.wait_with_output().unwrap();
    let code = if attached { 0 } else { ended.status.code().unwrap() };
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    Outcome { command: shown, code, stdout: seen, stderr }
}

/// One cell of the table. The zone is in the held state; afterwards it is where the cell says.
#[track_caller]
fn check(ctx: &TestCtx, held: &Held, verb: Verb) {
    let (zone, state) = (held.zone.as_str(), held.state);
    let verdict = drawn(state, verb);
    let outcome = perform(ctx, verb, zone);
    let code = if verb == Verb::Exec { 125 } else { 1 };
    let mut after = state.as_str();
    match verdict {
        "do" => {
            outcome.ok();
            after = leads_to(state, verb);
        }
        // A verb under way is met before the state is looked at: what cannot join it has to wait.
        _ if state == State::ShuttingDown && !matches!(verb, Verb::Exec | Verb::Cp | Verb::Shutdown) => {
            outcome.refuses(code, &format!("zone {zone}: busy with shutdown"));
        }
        "ok" => {
            let said = outcome.ok();
            let start = format!("zone {zone}: {state} (");
            assert!(said.starts_with(&start), "{verb} while {state}: no note in {said:?}");
        }
        "-" => {
            let error = ApiError::WrongState { zone: zone.into(), state, verb, hint: String::new() };
            let says = error.to_string();
            let said = outcome.refuses(code, &says);
            assert!(said.contains("\n  try: "), "{verb} while {state}: no hint in {said}");
        }
        other => panic!("the table says {other:?}"),
    }
    if after == "gone" {
        ctx.zonectl(&["info", zone]).refuses(1, "no such zone");
    } else {
        assert_eq!(ctx.state(zone), after, "after {verb} while {state}");
    }
}

/// A shutdown that joins one under way ends only with that: not one for a zone that is to be looked at again.
fn joins(state: State, verb: Verb) -> bool {
    (state, verb) == (State::ShuttingDown, Verb::Shutdown)
}

/// All verbs in one state.
fn row(state: State) {
    let ctx = TestCtx::new();
    let moves = |verb: &Verb| drawn(state, *verb) == "do" && leads_to(state, *verb) != state.as_str();
    let (moving, staying): (Vec<Verb>, Vec<Verb>) = Verb::ALL.into_iter().partition(moves);
    let mut held = drive(&ctx, "zone-0", state);
    for verb in staying.into_iter().filter(|verb| !joins(state, *verb)) {
        check(&ctx, &held, verb);
    }
    for (number, verb) in moving.into_iter().enumerate() {
        if number > 0 {
            held = drive(&ctx, &format!("zone-{number}"), state);
        }
        if state == State::Down {
            // Still held: the same again, and it stays down.
            ctx.zonectl(&["halt", &held.zone]).refuses(1, &held.holder().unwrap().to_string());
            let reason = ctx.info(&held.zone)["reason"].to_string();
            assert!(reason.contains(&held.holder().unwrap().to_string()), "{reason}");
            held.release();
        }
        check(&ctx, &held, verb);
    }
    drop(held);
    ctx.finish();
}

#[test]
fn every_verb_while_configured() {
    row(State::Configured);
}

#[test]
fn every_verb_while_incomplete() {
    row(State::Incomplete);
}

#[test]
fn every_verb_while_installed() {
    row(State::Installed);
}

#[test]
fn every_verb_while_ready() {
    row(State::Ready);
}

#[test]
fn every_verb_while_running() {
    row(State::Running);
}

#[test]
fn every_verb_while_paused() {
    row(State::Paused);
}

#[test]
fn every_verb_while_shutting_down() {
    row(State::ShuttingDown);
}

#[test]
fn every_verb_while_down() {
    if !can_be(State::Down) {
        println!("skipped: nothing can hold a zone's group of cgroup2");
        return;
    }
    row(State::Down);
}

/// A verb on a zone that is not there says so, whatever the verb.
#[test]
fn every_verb_on_no_zone() {
    let ctx = TestCtx::new();
    for verb in Verb::ALL {
        let code = if verb == Verb::Exec { 125 } else { 1 };
        let outcome = match verb {
            Verb::Edit => run_with(ctx.command(&["edit", "nobody", "-f", "-"]), b"zone: nobody"),
            verb => perform(&ctx, verb, "nobody"),
        };
        let said = outcome.refuses(code, "zone nobody: no such zone");
        assert!(said.contains("  try: `zonectl list`"), "{verb}: {said}");
    }
    ctx.finish();
}
