//! Zones with `zone-load` in them, the program that works or measures as it is told.

use crate::daemon::{Daemon, end};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

/// Where zones find it.
const INSIDE: &str = "/opt/bench/zone-load";

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

/// `zone-load` in a zone. It ends when its input does.
pub(crate) struct Session {
    zone: String,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Session {
    /// Starts it; it has begun when this returns.
    pub(crate) fn start(daemon: &Daemon, zone: &str, command: &[&str]) -> Result<Self> {
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
    pub(crate) fn end(mut self) -> Result<String> {
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
        end(&mut self.child);
    }
}
