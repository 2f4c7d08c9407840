//! Zones with work in them, and a daemon that keeps their shares by one backend or another.

use super::{
    cases::{Case, Work},
    keeper::{self, Beside},
    sample::Meter,
};
use crate::{
    bench::load::{Session, boot, group},
    daemon::Daemon,
};
use anyhow::{Context as _, Result, ensure};
use fairness::Cpus;
use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

pub(crate) struct Stage {
    /// Goes before the daemon, which puts the kernel's mode back as it was.
    beside: Option<Beside>,
    daemon: Daemon,
    column: String,
    groups: Vec<PathBuf>,
    cpus: Cpus,
}

impl Stage {
    /// Boots so many zones, by the first of these. Every one must work here.
    pub(crate) fn new(binaries: &Path, backends: &[String], zones: usize) -> Result<Self> {
        let column = backends.first().context("--backends: none")?.clone();
        let daemon = Daemon::start_with(binaries, "bench", options(&column))?;
        let beside = Some(Beside::new(&column)?);
        let mut stage = Self { daemon, column, beside, groups: Vec::new(), cpus: online()? };
        for number in 0..zones {
            boot(&stage.daemon, binaries, &name(number))?;
            stage.groups.push(group(&stage.daemon, &name(number))?);
        }
        for backend in backends.iter().rev() {
            stage.keep_by(backend)?;
        }
        Ok(stage)
    }

    /// Has shares kept by another: by another daemon, which finds the zones as they are.
    pub(crate) fn keep_by(&mut self, column: &str) -> Result<()> {
        // What was taken away is begun anew.
        if self.column != column || !self.is_kept() {
            self.beside = None;
            self.daemon.kill_zoned()?;
            self.daemon.restart_with(options(column))?;
            self.beside = Some(Beside::new(column)?);
            self.column = column.to_owned();
        }
        let backend = keeper::backend(column);
        let begun = Instant::now();
        loop {
            let by = self.kept_by()?;
            if by.as_deref() == Some(backend) {
                return Ok(());
            }
            // Until the kernel has verified a scheduler nothing keeps them.
            ensure!(
                by.is_none() && begun.elapsed() < keeper::LIMIT,
                "shares are kept by {} here: `zonectl doctor` says why {backend} does not work",
                by.as_deref().unwrap_or("nothing")
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Whether what a column is of still keeps shares.
    pub(crate) fn is_kept(&self) -> bool {
        let by = self.kept_by().ok().flatten();
        self.beside.as_ref().is_some_and(Beside::is_there)
            && by.as_deref() == Some(keeper::backend(&self.column))
    }

    fn kept_by(&self) -> Result<Option<String>> {
        let answer = self.daemon.json(&["stat", &name(0)])?;
        Ok(answer["stats"][0]["entitlement"]["kept_by"].as_str().map(str::to_owned))
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
            let session = match zone.work {
                Work::Busy(threads) => {
                    Session::start(&self.daemon, &name(number), &["busy", &threads.to_string()])
                }
                Work::Sleeper => Session::start(&self.daemon, &name(number), &["sleeper"]),
            };
            working.sessions.push(session?);
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

fn options(column: &str) -> Vec<String> {
    vec!["--cpu-backend".into(), keeper::backend(column).into()]
}

fn name(number: usize) -> String {
    format!("z{}", number + 1)
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
