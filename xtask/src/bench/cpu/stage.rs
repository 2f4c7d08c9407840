//! Zones with work in them, and a daemon that keeps their shares by one backend or another.

use super::{
    cases::{Case, Work},
    sample::Meter,
};
use crate::daemon::Daemon;
use anyhow::{Context as _, Result, ensure};
use fairness::Cpus;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where zones find the program that works.
const INSIDE: &str = "/opt/bench/zone-load";

pub(crate) struct Stage {
    daemon: Daemon,
    backend: String,
    groups: Vec<PathBuf>,
    cpus: Cpus,
}

impl Stage {
    /// Boots so many zones, by the first of these backends. Every one must work here.
    pub(crate) fn new(binaries: &Path, backends: &[String], zones: usize) -> Result<Self> {
        let backend = backends.first().context("--backends: none")?.clone();
        let daemon = Daemon::start_with(binaries, "bench", options(&backend))?;
        let mut stage = Self { daemon, backend, groups: Vec::new(), cpus: online()? };
        for number in 0..zones {
            boot(&stage.daemon, binaries, &name(number))?;
            stage.groups.push(group(&stage.daemon, &name(number))?);
        }
        for backend in backends.iter().rev() {
            stage.keep_by(backend)?;
        }
        Ok(stage)
    }

    /// Has shares kept by a backend: by another daemon, which finds the zones as they are.
    pub(crate) fn keep_by(&mut self, backend: &str) -> Result<()> {
        if self.backend != backend {
            self.daemon.kill_zoned()?;
            self.daemon.restart_with(options(backend))?;
            self.backend = backend.to_owned();
        }
        let answer = self.daemon.json(&["stat", &name(0)])?;
        let by = answer["stats"][0]["entitlement"]["kept_by"].as_str().unwrap_or("nothing");
        ensure!(
            by == backend,
            "shares are kept by {by} here: `zonectl doctor` says why {backend} does not work"
        );
        Ok(())
    }

    pub(crate) fn give(&self, shares: impl Iterator<Item = u64>) -> Result<()> {
        for (number, shares) in shares.enumerate() {
            self.daemon.ask(&["--quiet", "set", &name(number), &format!("cpu.shares={shares}")])?;
        }
        Ok(())
    }

    /// Starts the work of a case.
    pub(crate) fn work(&self, case: &Case) -> Result<Working> {
        let mut working = Working { sessions: Vec::new() };
        for (number, zone) in case.zones.iter().enumerate() {
            let command = match zone.work {
                Work::Busy(threads) => vec!["busy".to_owned(), threads.to_string()],
                Work::Sleeper => vec!["sleeper".to_owned()],
            };
            working.sessions.push(Session::start(&self.daemon, &name(number), &command)?);
        }
        Ok(working)
    }

    pub(crate) fn meter(&self, zones: usize) -> Result<Meter> {
        Ok(Meter(self.groups.get(..zones).context("fewer zones than the case has")?.to_vec()))
    }

    pub(crate) fn cpus(&self) -> &Cpus {
        &self.cpus
    }
}

fn options(backend: &str) -> Vec<String> {
    vec!["--cpu-backend".into(), backend.into()]
}

fn name(number: usize) -> String {
    format!("z{}", number + 1)
}

/// Boots a zone that shares the host's /usr and sees the program that works.
pub(crate) fn boot(daemon: &Daemon, binaries: &Path, zone: &str) -> Result<()> {
    let folder = daemon.folder().join("share");
    if !folder.exists() {
        fs::create_dir(&folder)?;
        fs::copy(binaries.join("zone-load"), folder.join("zone-load")).context("cannot copy zone-load")?;
    }
    let share = format!("fs=[{{ source: {}, target: /opt/bench, options: [ro] }}]", folder.display());
    daemon.ask(&["--quiet", "create", zone, "--set", &share, "--set", "net=[]"])?;
    daemon.ask(&["--quiet", "install", zone])?;
    daemon.ask(&["--quiet", "boot", zone]).map(drop)
}

/// The zone's group in the cgroup2 tree.
pub(crate) fn group(daemon: &Daemon, zone: &str) -> Result<PathBuf> {
    let info = daemon.json(&["info", zone])?;
    let uuid = info["uuid"].as_str().context("zonectl info has no uuid")?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = mounts.find(|fields| fields.get(2) == Some(&"cgroup2")).context("cgroup2 is not mounted")?[1];
    Ok(Path::new(root).join(daemon.cgroup()).join(format!("{uuid}.{}", info["boot"])))
}

fn online() -> Result<Cpus> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online")?;
    let mut cpus = Cpus::new();
    for part in text.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(from.parse::<u32>()?..=to.parse::<u32>()?);
    }
    Ok(cpus)
}

/// `zone-load` in a zone. It ends when its input does.
pub(crate) struct Session {
    zone: String,
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Session {
    /// Starts it; it has begun when this returns.
    pub(crate) fn start(daemon: &Daemon, zone: &str, command: &[String]) -> Result<Self> {
        let mut zonectl: Command = daemon.zonectl(["exec", zone, "--", INSIDE]);
        zonectl.args(command).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = zonectl.spawn().context("cannot run zonectl")?;
        let said = BufReader::new(child.stdout.take().context("no pipe to zonectl")?);
        let mut session = Self { zone: zone.to_owned(), child, said };
        let ready = session.line()?;
        ensure!(ready == "ready", "zone {zone}: zone-load said {ready:?}");
        Ok(session)
    }

    /// Sends a line, and returns the one that comes back.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String> {
        use std::io::Write as _;
        let input = self.child.stdin.as_mut().context("its input is closed")?;
        writeln!(input, "{line}").with_context(|| format!("zone {}: zone-load is gone", self.zone))?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Ends it; what it said last.
    fn end(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.said.read_to_string(&mut rest)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "zone {}: zone-load ended with {status}", self.zone);
        Ok(rest)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        crate::daemon::end(&mut self.child);
    }
}

/// The work of a case.
pub(crate) struct Working {
    sessions: Vec<Session>,
}

impl Working {
    /// Ends it; what the sleeper said, if there was one.
    pub(crate) fn end(self) -> Result<Option<[f64; 2]>> {
        let mut late = None;
        for session in self.sessions {
            let said = session.end()?;
            let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            if let [half, most] = numbers.as_slice() {
                late = Some([*half, *most]);
            }
        }
        Ok(late)
    }
}
