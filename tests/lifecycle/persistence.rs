//! The daemon ends, by SIGTERM or `kill -9`, and the next one finds every zone as it was.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::Stdio,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use zone_tests::{TestCtx, run, wait};
use zoned_api::State;

use super::states::{Holder, can_be, drive, groups, init, log};

/// Ends the daemon and starts another.
fn restart(ctx: &mut TestCtx, signal: Signal) {
    if signal == Signal::SIGKILL {
        ctx.kill_daemon()
    } else {
        ctx.stop_daemon()
    }
    ctx.start_daemon();
}

/// What must not change about a zone by a restart of the daemon.
fn identity(info: &Value) -> Vec<Value> {
    let keys = ["uuid", "boot", "id_base", "init_pid", "monitor_pid", "booted_ms", "root", "os", "config"];
    keys.iter().map(|key| info[*key].clone()).collect()
}

#[test]
fn every_state_outlives_the_daemon_however_it_ends() {
    let mut ctx = TestCtx::new();
    let states = State::ALL.into_iter().filter(|state| can_be(*state));
    let mut zones: Vec<_> = states.map(|state| drive(&ctx, state.as_str(), state)).collect();
    let before: Vec<_> = zones.iter().map(|held| ctx.info(&held.zone)).collect();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        restart(&mut ctx, signal);
        for (held, before) in zones.iter().zip(&before) {
            // A shutdown is the client's wish: with the daemon that knew it gone, the zone runs on.
            let wanted = if held.state == State::ShuttingDown { "running" } else { held.state.as_str() };
            ctx.wait_state(&held.zone, wanted);
            let now = ctx.info(&held.zone);
            if held.state != State::Down {
                assert_eq!(identity(&now), identity(before), "{} after {signal}", held.zone);
            }
            if matches!(held.state, State::Incomplete | State::Down) {
                assert!(now["reason"].is_string(), "{} after {signal} does not say why: {now}", held.zone);
            }
        }
    }
    // Each goes on from there.
    ctx.ok(&["boot", "ready"]);
    ctx.ok(&["exec", "ready", "true"]);
    ctx.ok(&["exec", "running", "true"]);
    ctx.ok(&["resume", "paused"]);
    ctx.ok(&["exec", "paused", "true"]);
    ctx.ok(&["uninstall", "--force", "incomplete"]);
    zones.iter_mut().for_each(super::states::Held::release);
    if can_be(State::Down) {
        ctx.ok(&["halt", "down"]);
    }
    drop(zones);
    ctx.finish();
}

#[test]
fn sessions_and_the_console_go_on_without_a_daemon() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: z\nprocess: { command: [/bin/sh, -c, 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.02; done'] }");
    let mut session = ctx.command(&["exec", "z", "--", "/bin/sh", "-c", "cat; exit 42"]);
    session.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut session = Holder(session.spawn().unwrap());
    let (mut stdin, mut stdout) = (session.0.stdin.take().unwrap(), session.0.stdout.take().unwrap());
    let mut echo = |text: &str| {
        stdin.write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len()];
        stdout.read_exact(&mut back).unwrap();
        assert_eq!(back, text.as_bytes());
    };
    echo("with a daemon\n");
    let file =
        fs::read_dir(ctx.dir.join("lib/zones")).unwrap().next().unwrap().unwrap().path().join("console.log");
    ctx.kill_daemon();
    echo("without one\n");
    let ticks = || fs::read_to_string(&file).unwrap().lines().count();
    let then = ticks();
    wait::until("the console is kept without a daemon", || ticks() > then + 3);
    ctx.start_daemon();
    echo("with another\n");
    drop(stdin);
    assert_eq!(session.0.wait().unwrap().code(), Some(42));
    let all = log(&ctx, "z");
    let numbers: Vec<u32> =
        all.lines().filter_map(|l| l.strip_prefix("tick ")?.trim().parse().ok()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u32), "lines were lost: {numbers:?}");
    ctx.finish();
}

#[test]
fn what_happens_while_no_daemon_looks_is_found_by_the_next() {
    let mut ctx = TestCtx::new();
    let wait_for = |then: &str| {
        format!("process: {{ command: [/bin/sh, -c, 'until [ -e /root/go ]; do sleep 0.01; done; {then}'] }}")
    };
    let reboot =
        format!("exec perl -e \"syscall({}, 0xfee1dead, 672274793, 0x01234567, 0)\"", libc::SYS_reboot);
    ctx.boot(&format!("zone: ends\n{}", wait_for("exit 7")));
    // Up again it waits: the file is there once only.
    ctx.boot(&format!("zone: reboots\n{}", wait_for(&format!("rm /root/go; {reboot}"))));
    ctx.boot("zone: stays");
    ctx.boot("zone: orphan");
    // Sessions outlive the daemon: two wait for its death.
    let mut signals = ["ends", "reboots"].map(|zone| {
        let mut command =
            ctx.command(&["exec", zone, "--", "/bin/sh", "-c", "echo up; read line; touch /root/go"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = Holder(command.spawn().unwrap());
        client.0.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        client
    });
    let monitors = ["ends", "reboots", "orphan"].map(|z| ctx.info(z)["monitor_pid"].as_u64().unwrap());
    ctx.kill_daemon();
    signals.iter_mut().for_each(|client| client.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap());
    kill(Pid::from_raw(monitors[2] as i32), Signal::SIGKILL).unwrap();
    for monitor in monitors {
        // The host's init may take a second to reap it.
        wait::until("its monitor has ended", || {
            let status = fs::read_to_string(format!("/proc/{monitor}/status")).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        });
    }
    ctx.start_daemon();
    ctx.wait_state("ends", "installed");
    assert_eq!(ctx.info("ends")["last_exit"]["code"], 7);
    wait::until("the reboot is followed", || {
        ctx.info("reboots")["boot"] == 2 && ctx.state("reboots") == "running"
    });
    ctx.wait_state("orphan", "installed");
    assert_eq!(ctx.info("orphan")["last_exit"]["how"], "unknown");
    assert!(ctx.info("orphan")["reason"].to_string().contains("its monitor died"), "{}", ctx.info("orphan"));
    ctx.ok(&["exec", "stays", "true"]);
    ctx.finish();
}

#[test]
fn a_zone_whose_monitor_is_killed_ends_whole_and_says_why() {
    let ctx = TestCtx::new();
    ctx.boot("zone: z");
    ctx.sh("z", "sleep 1000000 >/dev/null 2>&1 </dev/null & exit 0").ok();
    let (monitor, first) = (ctx.info("z")["monitor_pid"].as_u64().unwrap(), init(&ctx, "z"));
    kill(Pid::from_raw(monitor as i32), Signal::SIGKILL).unwrap();
    ctx.wait_state("z", "installed");
    assert!(ctx.info("z")["reason"].to_string().contains("its monitor died"), "{}", ctx.info("z"));
    assert!(!fs::exists(format!("/proc/{first}/root/usr")).unwrap_or(false), "its init still runs");
    assert!(groups(&ctx, "z").is_empty());
    ctx.ok(&["boot", "z"]);
    ctx.finish();
}

/// A small archive of much: what takes its time to unpack.
fn slow_archive(ctx: &TestCtx) -> String {
    let path = ctx.dir.join("slow.tar.gz");
    let gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for i in 0..160 {
        let mut header = tar::Header::new_gnu();
        header.set_size(1 << 20);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, format!("usr/lib/file-{i}"), std::io::repeat(0).take(1 << 20)).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_install_that_dies_with_the_daemon_is_incomplete_and_can_be_cleared_away() {
    let mut ctx = TestCtx::new();
    let archive = slow_archive(&ctx);
    ctx.create(&format!("zone: z\nroot: {{ image: 'tar:{archive}' }}")).ok();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut install = ctx.command(&["install", "z"]);
        install.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut install = install.spawn().unwrap();
        ctx.wait_state("z", "incomplete");
        restart(&mut ctx, signal);
        let mut said = String::new();
        install.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = install.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(1), None), "{said}");
        assert!(said.contains("zonectl: the connection to zoned broke"), "{said}");

        let info = ctx.info("z");
        assert_eq!(info["state"], "incomplete", "after {signal}");
        assert!(info["reason"].to_string().contains("interrupted"), "{info}");
        ctx.zonectl(&["install", "z"]).refuses(1, "cannot install while it is incomplete");
        ctx.zonectl(&["boot", "z"]).refuses(1, "cannot boot while it is incomplete");
        ctx.ok(&["uninstall", "--force", "z"]);
        assert_eq!(ctx.state("z"), "configured");
        assert_eq!(run(ctx.command(&["audit"])).ok(), "nothing is left over\n");
    }
    let kept = |folder: &str| fs::read_dir(ctx.dir.join("lib").join(folder)).unwrap().count();
    wait::until("nothing of the archive is left", || kept("layers") == 0 && kept("datasets") == 0);
    ctx.finish();
}

#[test]
fn a_halt_breaks_an_install_off() {
    let ctx = TestCtx::new();
    let archive = slow_archive(&ctx);
    ctx.create(&format!("zone: z\nroot: {{ image: 'tar:{archive}' }}")).ok();
    let install = {
        let command = ctx.command(&["install", "z"]);
        std::thread::spawn(move || run(command))
    };
    ctx.wait_state("z", "incomplete");
    let said = ctx.ok(&["halt", "z"]);
    assert!(said.contains("(install cancelled)"), "{said}");
    install.join().unwrap().refuses(1, "cancelled");
    // Configured if it was reading the archive still.
    let state = ctx.state("z");
    assert!(matches!(&*state, "incomplete" | "configured"), "{state}");
    let said = ctx.ok(&["halt", "z"]);
    assert!(said.starts_with(&format!("zone z: {state} (nothing of it runs")), "{said}");
    assert_eq!(
        said.contains("`zonectl uninstall` clears away what is left"),
        state == "incomplete",
        "{said}"
    );
    ctx.ok(&["uninstall", "--force", "z"]);
    ctx.finish();
}

#[test]
fn an_install_without_its_source_leaves_the_zone_configured_and_says_why() {
    let mut ctx = TestCtx::new();
    let archive = ctx.dir.join("later.tar");
    ctx.create(&format!("zone: z\nroot: {{ image: 'tar:{}' }}", archive.display())).ok();
    let said =
        ctx.zonectl(&["install", "z"]).refuses(1, "later.tar: cannot open: No such file or directory\n");
    assert!(said.contains("`zonectl install z` tries again"), "{said}");
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        signal.into_iter().for_each(|signal| restart(&mut ctx, signal));
        let info = ctx.info("z");
        assert_eq!(info["state"], "configured", "after {signal:?}");
        assert!(info["reason"].to_string().contains("later.tar"), "after {signal:?}: {info}");
        assert_eq!(ctx.ok(&["audit"]), "nothing is left over\n");
    }
    // Nothing has to be cleared away first.
    fs::rename(slow_archive(&ctx), &archive).unwrap();
    ctx.ok(&["install", "z"]);
    restart(&mut ctx, Signal::SIGKILL);
    assert_eq!((ctx.state("z").as_str(), &ctx.info("z")["reason"]), ("installed", &Value::Null));
    ctx.ok(&["uninstall", "--force", "z"]);
    ctx.finish();
}

#[test]
fn an_install_over_a_root_that_is_there_takes_nothing_away() {
    let mut ctx = TestCtx::new();
    ctx.create("zone: z").ok();
    ctx.ok(&["install", "z"]);
    let uuid = ctx.info("z")["uuid"].as_str().unwrap().to_owned();
    let kept = ctx.dir.join("lib/datasets").join(&uuid).join("upper/precious");
    fs::write(&kept, "data").unwrap();
    // A record from before the install, as out of a backup.
    ctx.kill_daemon();
    let path = ctx.dir.join("lib/zones").join(&uuid).join("state.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["root"] = serde_json::json!({ "is": "none" });
    fs::write(&path, record.to_string()).unwrap();
    ctx.start_daemon();
    assert_eq!(ctx.state("z"), "configured");
    ctx.zonectl(&["install", "z"]).refuses(1, "has a dataset already");
    assert_eq!(
        (ctx.state("z").as_str(), fs::read_to_string(&kept).unwrap().as_str()),
        ("incomplete", "data")
    );
    ctx.ok(&["uninstall", "--force", "z"]);
    assert!(!kept.exists());
    ctx.finish();
}

#[test]
fn two_daemons_never_share_a_state_folder_nor_a_group() {
    let ctx = TestCtx::new();
    ctx.boot("zone: z\nautoboot: true");
    let other = tempfile::tempdir().unwrap();
    // Everything else is of its own.
    for shared in ["--state-dir", "--cgroup-name"] {
        let usual = ctx.daemon_command();
        let mut command = std::process::Command::new(usual.get_program());
        let words: Vec<_> = usual.get_args().map(|word| word.to_str().unwrap()).collect();
        for pair in words.chunks(2) {
            let own = match pair[0] {
                option if option == shared => pair[1].to_owned(),
                "--cgroup-name" => format!("{}x", ctx.cgroup),
                "--state-dir" | "--run-dir" => {
                    other.path().join(format!("{}{}", &shared[2..], pair[0])).display().to_string()
                }
                _ => pair[1].to_owned(),
            };
            command.args([pair[0], &own]);
        }
        run(command).fails(1, "another zoned works there already");
    }
    ctx.ok(&["exec", "z", "true"]);
    assert_eq!(ctx.state("z"), "running");
    assert_eq!(ctx.ok(&["audit"]).trim(), "nothing is left over");
    ctx.finish();
}

#[test]
fn two_daemons_never_share_a_run_folder() {
    let mut ctx = TestCtx::new();
    ctx.boot("zone: z");
    let second = || {
        let mut command = ctx.daemon_command();
        command.arg("--socket").arg(ctx.dir.join("run/second.sock"));
        run(command)
    };
    let said = second().fails(1, "another zoned works there already");
    assert!(said.contains(&ctx.daemon_pid().to_string()), "names it: {said}");
    ctx.ok(&["exec", "z", "true"]);
    // Eight at once where there is none: one of them serves.
    ctx.stop_daemon();
    let mut all: Vec<_> = (0..8)
        .map(|_| {
            let mut command = ctx.daemon_command();
            command.stdin(Stdio::null()).stderr(Stdio::null());
            Holder(command.spawn().unwrap())
        })
        .collect();
    wait::until("seven have given up", || {
        all.iter_mut().filter_map(|d| d.0.try_wait().unwrap()).filter(|s| !s.success()).count() == 7
    });
    wait::until("one serves", || ctx.zonectl(&["list"]).code == 0);
    ctx.ok(&["exec", "z", "true"]);
    drop(all);
    ctx.start_daemon();
    ctx.finish();
}
