//! The console: kept, bounded, shared, typed on.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{ChildStdin, Stdio},
    sync::mpsc,
    time::Instant,
};

use zone_tests::{TestCtx, wait};

use super::states::{Holder, log};

/// A client at a zone's console.
struct Watcher {
    _client: Holder,
    stdin: ChildStdin,
    shown: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Watcher {
    fn attach(ctx: &TestCtx, zone: &str) -> Self {
        let mut command = ctx.command(&["console", zone]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = command.spawn().unwrap();
        let (stdin, mut stdout) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
        let (tell, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if tell.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { _client: Holder(client), stdin, shown, seen: String::new() }
    }

    fn type_line(&mut self, line: &str) {
        self.stdin.write_all(line.as_bytes()).unwrap();
    }

    /// Waits until this has been shown.
    #[track_caller]
    fn sees(&mut self, what: &str) {
        let deadline = Instant::now() + wait::limit(30);
        while !self.seen.contains(what) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(e) => panic!("never saw {what:?} ({e}), but {:?}", self.seen),
            }
        }
    }
}

/// The two generations of a zone's log.
fn files(ctx: &TestCtx, zone: &str) -> [PathBuf; 2] {
    let folder = ctx.dir.join("lib/zones").join(ctx.info(zone)["uuid"].as_str().unwrap());
    [folder.join("console.log"), folder.join("console.log.1")]
}

#[test]
fn two_watch_and_type_and_the_log_has_all_of_it() {
    let ctx = TestCtx::new();
    ctx.boot("zone: c\nprocess: { command: [/bin/sh, -c, 'while read line; do echo \"<$line>\"; done'] }");
    let (mut one, mut two) = (Watcher::attach(&ctx, "c"), Watcher::attach(&ctx, "c"));
    one.type_line("from one\n");
    one.sees("<from one>");
    two.type_line("from two\n");
    for watcher in [&mut one, &mut two] {
        watcher.sees("<from two>");
    }
    drop(one);
    two.type_line("still here\n");
    two.sees("<still here>");
    let kept = log(&ctx, "c");
    assert!(["<from one>", "<from two>", "<still here>"].iter().all(|l| kept.contains(l)), "{kept}");
    // End of file, typed: the command ends and the zone with it.
    two.type_line("\u{4}");
    ctx.wait_state("c", "installed");
    assert!(log(&ctx, "c").contains("<still here>"), "the log outlives the boot");
    ctx.finish();
}

#[test]
fn what_was_printed_last_is_kept_although_nobody_watched() {
    let ctx = TestCtx::new();
    ctx.create("zone: c\nprocess: { command: [/bin/sh, -c, 'seq 1 2000; echo the last word'] }").ok();
    ctx.ok(&["install", "c"]);
    ctx.ok(&["boot", "c"]);
    ctx.wait_state("c", "installed");
    let kept = log(&ctx, "c");
    assert!(kept.starts_with("1\r\n2\r\n") && kept.ends_with("2000\r\nthe last word\r\n"), "{kept}");
    ctx.ok(&["boot", "c"]);
    ctx.wait_state("c", "installed");
    assert_eq!(log(&ctx, "c").matches("the last word").count(), 2, "boots are appended");
    ctx.ok(&["uninstall", "--force", "c"]);
    assert_eq!(log(&ctx, "c"), "", "it goes with the root");
    ctx.finish();
}

#[test]
fn a_flooded_console_keeps_a_bounded_log_and_a_zone_that_halts_at_once() {
    let ctx = TestCtx::new();
    ctx.boot("zone: c\nprocess: { command: [/bin/sh, -c, 'yes 0123456789012345678901234567890123456789'] }");
    let files = files(&ctx, "c");
    let size = |file: &PathBuf| fs::metadata(file).map_or(0, |m| m.len());
    // A second generation, twice: more has been printed than is kept.
    wait::until("an older generation", || files[1].exists());
    let first = fs::metadata(&files[1]).unwrap();
    wait::until("another one", || {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(&files[1]).is_ok_and(|now| now.ino() != first.ino())
    });
    // One gulp of the terminal may go over the bound of 1 MiB.
    let bound = (1 << 20) + (16 << 10);
    for file in &files {
        assert!(size(file) <= bound, "{}: {} bytes", file.display(), size(file));
    }
    ctx.ok(&["exec", "c", "true"]);
    let began = Instant::now();
    ctx.ok(&["halt", "c"]);
    assert!(began.elapsed() < wait::limit(5), "halt took {:?}", began.elapsed());
    assert!(log(&ctx, "c").len() <= 1 << 20, "what is sent is bounded too");
    ctx.finish();
}

#[test]
fn a_watcher_that_reads_nothing_holds_nobody_up() {
    let ctx = TestCtx::new();
    let script = "seq 1 200000; echo done > /root/done; exec sleep 1000000";
    ctx.create(&format!("zone: c\nprocess: {{ command: [/bin/sh, -c, '{script}'] }}")).ok();
    ctx.ok(&["install", "c"]);
    ctx.ok(&["ready", "c"]);
    let mut wire = zone_tests::Wire::connect(&ctx.socket());
    let reply = wire.call("Console", serde_json::json!({ "zone": "c" }));
    assert!(reply["parameters"]["session"].is_u64(), "{reply}");
    let mut lazy = ctx.command(&["console", "c"]);
    lazy.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let lazy = Holder(lazy.spawn().unwrap());
    ctx.ok(&["boot", "c"]);
    let done = format!("/proc/{}/root/root/done", super::states::init(&ctx, "c"));
    wait::until("all has been printed", || fs::exists(&done).unwrap_or(false));
    drop(lazy);
    ctx.finish();
}
