//! A zone as a subject of the boot bench: installed, so that a boot is all that is measured.
//!
//! Two ways to ask for the boot: the command `zonectl boot`, which is what the peers' commands compare with, and the
//! API call on an open connection, which is what a program pays. In both the exit is when the daemon says that the
//! zone is installed again: its process gone and its tear-down done.

use super::{api::Connection, probe};
use crate::daemon::Daemon;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::{
    path::Path,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, SystemTime},
};

const NAME: &str = "probe";
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// A zone that runs the probe once a boot.
pub(crate) struct Zone {
    daemon: Daemon,
    connection: Connection,
    /// When the daemon said that the zone is installed.
    halted: Receiver<SystemTime>,
}

/// How a boot is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Command,
    Call,
}

impl Zone {
    /// Creates and installs the zone in a daemon of its own.
    pub(crate) fn install(binaries: &Path, root: &Path) -> Result<Self> {
        let daemon = Daemon::start(binaries, "bench")?;
        let image = format!("dir:{}", root.display());
        let command = format!("process.command=[{}]", probe::PROGRAM);
        daemon.ask(&["create", NAME, "--image", &image, "--set", "process.init=none", "--set", &command])?;
        daemon.ask(&["install", NAME])?;
        let connection = Connection::open(&daemon.socket())?;
        let halted = watch(&daemon)?;
        Ok(Self { daemon, connection, halted })
    }

    /// Boots it once: when that was asked for, when the probe began, when the zone was installed again.
    pub(crate) fn boot(&mut self, way: Way) -> Result<[SystemTime; 3]> {
        // The zone is said to be installed a moment before its halt has ended; to ask for one waits for that.
        self.connection.call("Do", json!({ "zone": NAME, "verb": "halt" }))?;
        let request = SystemTime::now();
        match way {
            Way::Command => {
                let status =
                    self.daemon.zonectl(["--quiet", "boot", NAME]).status().context("cannot run zonectl")?;
                ensure!(status.success(), "zonectl boot failed ({status})");
            }
            Way::Call => drop(self.connection.call("Do", json!({ "zone": NAME, "verb": "boot" }))?),
        }
        let exit = self.halted.recv_timeout(EXIT_LIMIT).context("the zone did not halt")?;
        let log = self.connection.call("ConsoleLog", json!({ "zone": NAME }))?;
        let log = log["text"].as_str().unwrap_or_default();
        let first = probe::stamp(log).with_context(|| format!("no time on the zone's console: {log:?}"))?;
        // An older stamp is that of an earlier boot.
        ensure!(first > request, "the probe did not run in this boot");
        Ok([request, first, exit])
    }
}

/// Receives the zone's events in a thread of its own and passes on when it was installed again.
fn watch(daemon: &Daemon) -> Result<Receiver<SystemTime>> {
    let mut connection = Connection::open(&daemon.socket())?;
    // Those of the installation are not meant.
    let past = connection.call("Events", json!({ "zone": NAME }))?;
    let since = past["events"].as_array().and_then(|events| events.last()?["seq"].as_u64());
    connection.begin("Events", json!({ "zone": NAME, "since": since, "follow": true }))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let is_halt =
            |event: &serde_json::Value| event["kind"] == "state-changed" && event["to"] == "installed";
        while let Ok(reply) = connection.next() {
            let now = SystemTime::now();
            let events = reply["events"].as_array().into_iter().flatten();
            if events.filter(|event| is_halt(event)).any(|_| sender.send(now).is_err()) {
                return;
            }
        }
    });
    Ok(receiver)
}
