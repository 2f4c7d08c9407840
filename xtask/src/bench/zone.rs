//! Zones as subjects of the boot bench: installed, so that a boot is all that is measured.
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

/// A zone without a network, and one on the zones' bridge; each runs the probe once a boot.
pub(crate) const PLAIN: &str = "plain";
pub(crate) const BRIDGED: &str = "bridged";
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// Both, in a daemon of their own. One is booted at a time.
pub(crate) struct Zones {
    daemon: Daemon,
    connection: Connection,
    /// When the daemon said that the zone that was booted is installed again.
    halted: Receiver<SystemTime>,
}

/// How a boot is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Command,
    Call,
}

impl Zones {
    /// Creates and installs them.
    pub(crate) fn install(binaries: &Path, root: &Path) -> Result<Self> {
        let daemon = Daemon::start(binaries, "bench")?;
        let image = format!("dir:{}", root.display());
        let command = format!("process.command=[{}]", probe::PROGRAM);
        for (zone, net) in [(PLAIN, "net=[]"), (BRIDGED, "net=[{}]")] {
            let process = ["--set", "process.init=none", "--set", &command];
            daemon.ask(&[&["create", zone, "--image", &image, "--set", net], &process[..]].concat())?;
            daemon.ask(&["install", zone])?;
        }
        let connection = Connection::open(&daemon.socket())?;
        let halted = watch(&daemon)?;
        Ok(Self { daemon, connection, halted })
    }

    /// Boots one once: when that was asked for, when the probe began, when the zone was installed again.
    pub(crate) fn boot(&mut self, zone: &str, way: Way) -> Result<[SystemTime; 3]> {
        // The zone is said to be installed a moment before its halt has ended; to ask for one waits for that.
        self.connection.call("Do", json!({ "zone": zone, "verb": "halt" }))?;
        let request = SystemTime::now();
        match way {
            Way::Command => {
                let status =
                    self.daemon.zonectl(["--quiet", "boot", zone]).status().context("cannot run zonectl")?;
                ensure!(status.success(), "zonectl boot failed ({status})");
            }
            Way::Call => drop(self.connection.call("Do", json!({ "zone": zone, "verb": "boot" }))?),
        }
        let exit = self.halted.recv_timeout(EXIT_LIMIT).context("the zone did not halt")?;
        let log = self.connection.call("ConsoleLog", json!({ "zone": zone }))?;
        let log = log["text"].as_str().unwrap_or_default();
        let first = probe::stamp(log).with_context(|| format!("no time on the zone's console: {log:?}"))?;
        // An older stamp is that of an earlier boot.
        ensure!(first > request, "the probe did not run in this boot");
        Ok([request, first, exit])
    }
}

/// Receives the zones' events in a thread of its own and passes on when one was installed again.
fn watch(daemon: &Daemon) -> Result<Receiver<SystemTime>> {
    let mut connection = Connection::open(&daemon.socket())?;
    // Those of the installation are not meant.
    let past = connection.call("Events", json!({}))?;
    let since = past["events"].as_array().and_then(|events| events.last()?["seq"].as_u64());
    connection.begin("Events", json!({ "since": since, "follow": true }))?;
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
