//! What can keep shares: a backend of zoned's, the kernel alone in one of its modes, or another scheduler.

use crate::daemon::end;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How the kernel weighs groups, where it has several ways.
const MODE: &str = "/sys/kernel/debug/sched/cgroup_mode";
/// Whether a scheduler of sched_ext is loaded.
const STATE: &str = "/sys/kernel/sched_ext/state";
/// The kernel's own example of such a scheduler that goes by groups' weights.
const FLATCG: &str = "scx_flatcg";
/// How long a scheduler may take to come or to go.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The backend of zoned's that a column of the table is measured with: where zoned is not to keep shares, it writes fixed
/// weights.
pub(crate) fn backend(column: &str) -> &str {
    match column {
        "concur" | "smp" | "flatcg" => "shares",
        own => own,
    }
}

/// What a column needs beside zoned, until it is dropped.
pub(crate) struct Beside {
    mode: Option<String>,
    scheduler: Option<Child>,
}

impl Beside {
    /// Has the kernel as a column says, once zoned runs.
    pub(crate) fn new(column: &str) -> Result<Self> {
        let mut beside = Beside { mode: None, scheduler: None };
        match column {
            "concur" | "smp" => beside.mode = Some(change_mode(column)?),
            "flatcg" => beside.scheduler = Some(flatcg()?),
            _ => {}
        }
        Ok(beside)
    }

    /// Whether the kernel still has what it was given: it takes a scheduler away that lets a task wait for half a minute.
    pub(crate) fn is_there(&self) -> bool {
        self.scheduler.is_none() || fs::read_to_string(STATE).is_ok_and(|state| state.trim() == "enabled")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(mode) = &self.mode {
            let _ = fs::write(MODE, mode);
        }
        if let Some(mut scheduler) = self.scheduler.take() {
            end(&mut scheduler);
            let _ = wait_for("disabled");
        }
    }
}

/// Sets it, and returns the one it was.
fn change_mode(to: &str) -> Result<String> {
    let modes = fs::read_to_string(MODE).with_context(|| {
        format!("{to}: this kernel has one way to weigh groups, or debugfs is not mounted")
    })?;
    let now = modes.split_whitespace().find_map(|mode| mode.strip_prefix('(')?.strip_suffix(')'));
    fs::write(MODE, to).with_context(|| format!("{to}: cannot be written to {MODE}"))?;
    Ok(now.unwrap_or("smp").to_owned())
}

fn flatcg() -> Result<Child> {
    ensure!(Path::new(STATE).exists(), "flatcg: this kernel has no sched_ext");
    let child = Command::new(FLATCG)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| {
            format!("{FLATCG} is not here: build it from tools/sched_ext of the kernel's source")
        })?;
    wait_for("enabled")?;
    Ok(child)
}

fn wait_for(state: &str) -> Result<()> {
    let begun = Instant::now();
    while fs::read_to_string(STATE)?.trim() != state {
        if begun.elapsed() > LIMIT {
            bail!("no scheduler of sched_ext was {state} within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
