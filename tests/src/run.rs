//! Running commands with a deadline.

use std::{
    io::{Read, Write},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use crate::{outcome::Outcome, wait};

/// Longest a command may take, [patiently](wait::patiently).
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started or does not end in two minutes.
#[track_caller]
pub fn run(command: Command) -> Outcome {
    run_with(command, b"")
}

/// Runs a command to its end with this standard input.
///
/// # Panics
/// As [`run`].
#[track_caller]
pub fn run_with(mut command: Command, input: &[u8]) -> Outcome {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let mut stdin = child.stdin.take();
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        if let Some(stdin) = &mut stdin {
            // A command that does not read its input is no error.
            let _ = stdin.write_all(&input);
        }
    });
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = end(&mut child, &shown);
    let _ = writer.join();
    let bytes = |t: thread::JoinHandle<Vec<u8>>| t.join().unwrap_or_default();
    Outcome::new(shown, Output { status, stdout: bytes(stdout), stderr: bytes(stderr) })
}

/// Runs commands, all started at the same moment.
///
/// # Panics
/// As [`run`].
pub fn together(commands: Vec<Command>) -> Vec<Outcome> {
    let start = std::sync::Barrier::new(commands.len());
    thread::scope(|scope| {
        let one = |command| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                run(command)
            })
        };
        let running: Vec<_> = commands.into_iter().map(one).collect();
        let joined = running.into_iter().map(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        joined.collect()
    })
}

fn drain(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[track_caller]
fn end(child: &mut Child, shown: &str) -> std::process::ExitStatus {
    let ended = wait::within(LIMIT, || child.try_wait().ok().flatten());
    ended.unwrap_or_else(|| {
        let _ = child.kill();
        panic!("{shown}: did not end within {:?}", wait::patiently(LIMIT))
    })
}
