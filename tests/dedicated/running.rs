//! Who runs where: busy processes, and the CPUs that threads are seen on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use zone_tests::{TestCtx, wait};

/// How long it is looked where tasks run.
const LOOK: Duration = Duration::from_secs(6);

/// Busy threads of a zone; ended when dropped.
pub(crate) struct Load<'a> {
    ctx: &'a TestCtx,
    zone: &'a str,
    client: Child,
}

impl<'a> Load<'a> {
    pub(crate) fn start(ctx: &'a TestCtx, zone: &'a str, threads: usize, before: &str) -> Self {
        let script = "i=0; while [ $i -lt $1 ]; do (while :; do :; done) & i=$((i+1)); done; wait";
        let words: Vec<_> = before.split_whitespace().collect();
        let number = threads.to_string();
        let command =
            [&["exec", zone, "--"], words.as_slice(), &["sh", "-c", script, "sh", &number]].concat();
        let tasks = || ctx.json(&["stat", zone])["stats"][0]["processes"]["tasks"].as_u64().unwrap_or(0);
        let there = tasks();
        let client = ctx.command(&command).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::until("all threads are there", || tasks() > there + threads as u64);
        Self { ctx, zone, client }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let _ = self.ctx.sh(self.zone, "kill -9 -1");
        let _ = self.client.wait();
    }
}

/// A busy process of the host's, on any CPU; ended when dropped.
pub(crate) struct Busy(Child);

impl Busy {
    pub(crate) fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A thread that runs a program: its process, the CPU it was last on, and the ticks it has had (proc_pid_stat(5)).
#[derive(Clone, Debug)]
struct Thread {
    tid: u32,
    name: String,
    group: String,
    cpu: u64,
    ticks: u64,
}

/// Every thread of the machine that is none of the kernel's.
fn threads() -> Vec<Thread> {
    let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let processes = folders(Path::new("/proc")).filter(|path| number(path).is_some());
    // Threads of the kernel's run no program.
    let processes = processes.filter(|path| fs::read_link(path.join("exe")).is_ok());
    let tasks = processes.flat_map(|process| folders(&process.join("task")).collect::<Vec<_>>());
    let seen = |task: PathBuf| {
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        let field = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        Some(Thread {
            tid: number(&task)?,
            name: head.split_once('(')?.1.to_owned(),
            group: fs::read_to_string(task.join("cgroup")).ok()?.trim().to_owned(),
            cpu: field(39)?,
            ticks: field(14)? + field(15)?,
        })
    };
    tasks.filter_map(seen).collect()
}

/// Who ran on a CPU in a while: those that had ticks, and were on that CPU when they were looked at. Groups of the threads.
pub(crate) fn ran_on(cpu: u64) -> BTreeSet<String> {
    let mut on = BTreeSet::new();
    let mut before = threads();
    let until = Instant::now() + LOOK;
    while Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
        let now = threads();
        let ran = now.iter().filter(|thread| {
            let old = before.iter().find(|old| old.tid == thread.tid);
            thread.cpu == cpu && old.is_some_and(|old| old.ticks < thread.ticks && old.cpu == cpu)
        });
        on.extend(ran.map(|thread| format!("{} ({})", thread.group, thread.name)));
        before = now;
    }
    on
}
