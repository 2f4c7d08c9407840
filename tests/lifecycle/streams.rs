//! The streams of `exec`: binary-safe, whole, bounded, and ended on both sides when one ends.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use zone_tests::TestCtx;

use super::states::Holder;

const MIB: usize = 1 << 20;

/// Bytes that compress to nothing and hold every value (xorshift64).
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend(x.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Runs a command with bytes in and out.
fn piped(mut command: Command, input: &[u8]) -> (Option<i32>, Vec<u8>, Vec<u8>) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // A command that stops reading is no error.
            let _ = stdin.write_all(input);
        });
        let output = child.wait_with_output().unwrap();
        (output.status.code(), output.stdout, output.stderr)
    })
}

#[test]
fn sixty_four_mebibytes_go_through_unchanged() {
    let ctx = TestCtx::new();
    ctx.boot("zone: s");
    let input = noise(64 * MIB);
    let (code, output, errors) = piped(ctx.command(&["exec", "s", "cat"]), &input);
    assert_eq!((code, String::from_utf8_lossy(&errors).as_ref()), (Some(0), ""));
    assert_eq!(output.len(), input.len());
    assert!(output == input, "bytes were changed on the way");
    ctx.finish();
}

#[test]
fn every_byte_and_no_byte_pass_both_ways() {
    let ctx = TestCtx::new();
    ctx.boot("zone: s");
    let every: Vec<u8> = (0..=255).cycle().take(1024).collect();
    for input in [&every[..], b"", b"\n", b"no line feed", b"\x04\x1a\x03\0~.\r\n~."] {
        let (code, output, _) = piped(ctx.command(&["exec", "s", "cat"]), input);
        assert_eq!((code, output.as_slice()), (Some(0), input));
    }
    let (code, output, errors) =
        piped(ctx.command(&["exec", "s", "--", "sh", "-c", "cat >&2; echo out"]), &every);
    assert_eq!((code, output.as_slice(), errors), (Some(0), &b"out\n"[..], every));
    ctx.finish();
}

#[test]
fn files_of_the_caller_work_as_streams() {
    let ctx = TestCtx::new();
    ctx.boot("zone: s");
    let (source, target) = (ctx.dir.join("source"), ctx.dir.join("target"));
    let bytes = noise(3 * MIB + 17);
    std::fs::write(&source, &bytes).unwrap();
    let mut command = ctx.command(&["exec", "s", "cat"]);
    command.stdin(File::open(&source).unwrap()).stdout(File::create(&target).unwrap());
    assert!(command.status().unwrap().success());
    assert!(std::fs::read(&target).unwrap() == bytes);
    // None at all: the end of input at once, and output that nobody wants.
    let mut command = ctx.command(&["exec", "s", "--", "sh", "-c", "cat; exit 4"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(command.status().unwrap().code(), Some(4));
    ctx.finish();
}

#[test]
fn an_end_on_one_side_is_an_end_on_the_other() {
    let ctx = TestCtx::new();
    ctx.boot("zone: s");
    // The command stops reading: whoever feeds it is not waited for.
    let began = Instant::now();
    let (code, output, _) = piped(ctx.command(&["exec", "s", "--", "head", "-c", "10"]), &noise(16 * MIB));
    assert_eq!((code, output), (Some(0), noise(10)));
    // It stops although its input stays open.
    let mut command = ctx.command(&["exec", "s", "--", "sh", "-c", "exit 6"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut open = Holder(command.spawn().unwrap());
    assert_eq!(wait_for(&mut open), Some(6));
    // Nobody reads its output any more: it is told, by SIGPIPE.
    let mut command = ctx.command(&["exec", "s", "--", "yes"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut flood = Holder(command.spawn().unwrap());
    flood.0.stdout.take().unwrap().read_exact(&mut [0; 4096]).unwrap();
    assert_eq!(wait_for(&mut flood), Some(141), "128 + SIGPIPE");
    // It closes its output long before it ends: end of file is not held back.
    let script = "echo first; exec >&- 2>&-; until [ -e /root/go ]; do sleep 0.01; done";
    let mut command = ctx.command(&["exec", "s", "--", "sh", "-c", script]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut early = Holder(command.spawn().unwrap());
    let mut all = String::new();
    early.0.stdout.take().unwrap().read_to_string(&mut all).unwrap();
    assert_eq!((all.as_str(), early.0.try_wait().unwrap()), ("first\n", None));
    ctx.ok(&["exec", "s", "--", "touch", "/root/go"]);
    assert_eq!(wait_for(&mut early), Some(0));
    assert!(began.elapsed() < zone_tests::wait::limit(30), "{:?}", began.elapsed());
    ctx.finish();
}

/// Waits for a client whose input stays open.
fn wait_for(client: &mut Holder) -> Option<i32> {
    let ended = zone_tests::wait::within(Duration::from_secs(30), || client.0.try_wait().unwrap());
    ended.expect("an end within 30 s").code()
}

#[test]
fn a_reader_that_is_slow_loses_nothing() {
    let ctx = TestCtx::new();
    ctx.boot("zone: s");
    let mut command = ctx.command(&["exec", "s", "--", "seq", "1", "200000"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = Holder(command.spawn().unwrap());
    let mut stdout = client.0.stdout.take().unwrap();
    let (mut all, mut chunk) = (Vec::new(), vec![0; 32 << 10]);
    while let Ok(n @ 1..) = stdout.read(&mut chunk) {
        all.extend_from_slice(&chunk[..n]);
        thread::yield_now();
    }
    let expected: String = (1..=200_000).map(|i| format!("{i}\n")).collect();
    assert!(all == expected.as_bytes(), "{} bytes instead of {}", all.len(), expected.len());
    assert_eq!(wait_for(&mut client), Some(0));
    ctx.finish();
}
