//! Work for a CPU that a zone is given, by the word; it ends with its standard input.
//!
//! ```text
//! zone-load busy THREADS     computes in so many threads
//! zone-load sleeper          sleeps ten milliseconds at a time; at its end: how late it woke, p50 and p99, microseconds
//! zone-load pingpong CPU     for each line, two threads on one CPU wake each other: nanoseconds a switch
//! ```
//! Each says `ready` when it has begun.

use std::{
    io::{BufRead, PipeReader, PipeWriter, Read, Write, pipe, stdin, stdout},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// How long the sleeper sleeps.
const NAP: Duration = Duration::from_millis(10);

/// Round trips that are timed together, and how many such chunks a line is answered with the median of.
const ROUNDS: u32 = 250;
const CHUNKS: usize = 300;

static ENDING: AtomicBool = AtomicBool::new(false);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["busy", threads] => busy(threads.parse().context("THREADS is a number")?),
        ["sleeper"] => sleeper(),
        ["pingpong", cpu] => ping_pong(cpu.parse().context("CPU is a number")?),
        _ => bail!("zone-load busy THREADS | sleeper | pingpong CPU"),
    }
}

fn say(line: &str) -> Result<()> {
    writeln!(stdout(), "{line}").context("nobody reads")
}

fn wait_for_the_end() {
    for _ in stdin().lock().lines() {}
}

/// The process ends with its first thread, and the others with it.
fn busy(threads: usize) -> Result<()> {
    for _ in 0..threads {
        thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    say("ready")?;
    wait_for_the_end();
    Ok(())
}

fn sleeper() -> Result<()> {
    let sleeping = thread::spawn(|| {
        let mut late = Vec::new();
        while !ENDING.load(Ordering::Relaxed) {
            let begun = Instant::now();
            thread::sleep(NAP);
            late.push(begun.elapsed().saturating_sub(NAP));
        }
        late
    });
    say("ready")?;
    wait_for_the_end();
    ENDING.store(true, Ordering::Relaxed);
    let mut late = sleeping.join().map_err(|_| anyhow::anyhow!("the sleeper failed"))?;
    late.sort_unstable();
    let at = |percent: usize| late.get(late.len() * percent / 100).map_or(0, Duration::as_micros);
    say(&format!("{} {}", at(50), at(99)))
}

/// Both threads live as long as the process, so that a line measures switches and nothing else.
fn ping_pong(cpu: usize) -> Result<()> {
    let ((mut here, mut to_here), (mut there, mut to_there)) = (pipe()?, pipe()?);
    let mut only = CpuSet::new();
    only.set(cpu).context("such a CPU")?;
    // Threads that are made later inherit it.
    sched_setaffinity(Pid::from_raw(0), &only).context("cannot stay on one CPU")?;
    thread::spawn(move || while pass(&mut there, &mut to_here).is_some() {});
    say("ready")?;
    for line in stdin().lock().lines() {
        line?;
        let mut chunks = Vec::with_capacity(CHUNKS);
        for _ in 0..CHUNKS {
            let begun = Instant::now();
            for _ in 0..ROUNDS {
                to_there.write_all(&[0])?;
                here.read_exact(&mut [0])?;
            }
            chunks.push(begun.elapsed());
        }
        chunks.sort_unstable();
        say(&format!("{:.1}", chunks[CHUNKS / 2].as_nanos() as f64 / f64::from(2 * ROUNDS)))?;
    }
    Ok(())
}

fn pass(from: &mut PipeReader, to: &mut PipeWriter) -> Option<()> {
    let mut byte = [0];
    from.read_exact(&mut byte).ok()?;
    to.write_all(&byte).ok()
}
