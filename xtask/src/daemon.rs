//! A zoned of one's own: own folders, own cgroup, own network, nothing of the machine's.
//!
//! `zone-test-guard`, a process that outlives this one, removes all of it when this one has ended, however it ended.

use crate::{
    netns::{Hosts, UPLINK},
    progress, workspace,
};
use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs::{self, DirBuilder, File},
    os::unix::{fs::DirBuilderExt as _, net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const START_LIMIT: Duration = Duration::from_secs(30);
/// The longest that one zonectl may take, in seconds; the longest is the download of a Debian suite.
const ASK_LIMIT: u32 = 600;

/// A running daemon. Dropping it removes everything it has made.
pub(crate) struct Daemon {
    binaries: PathBuf,
    folder: PathBuf,
    cgroup: String,
    hosts: Hosts,
    /// Options beside the usual ones.
    options: Vec<String>,
    zoned: Option<Child>,
    guard: Child,
}

impl Daemon {
    /// Starts one from the binaries in this folder; `purpose` is part of its names.
    pub(crate) fn start(binaries: &Path, purpose: &str) -> Result<Self> {
        Self::start_with(binaries, purpose, Vec::new())
    }

    /// As [`Daemon::start`], with options beside the usual ones.
    pub(crate) fn start_with(binaries: &Path, purpose: &str, options: Vec<String>) -> Result<Self> {
        let hosts = Hosts::new()?;
        // The guard removes nothing whose name begins otherwise.
        let cgroup = format!("zt-{purpose}-{}", std::process::id());
        let folder = std::env::temp_dir().join(&cgroup);
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let guard = binaries.join("zone-test-guard");
        let guard = Command::new(&guard)
            .arg(&folder)
            .arg(&cgroup)
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", guard.display()))?;
        let mut daemon =
            Self { binaries: binaries.to_owned(), folder, cgroup, hosts, options, zoned: None, guard };
        // As /run is on a host. The guard takes it away with the folder.
        let run = daemon.folder.join("run");
        fs::create_dir(&run).with_context(|| format!("cannot make {}", run.display()))?;
        mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), Some("mode=0700"))
            .with_context(|| format!("cannot mount a tmpfs on {}", run.display()))?;
        daemon.start_zoned()?;
        Ok(daemon)
    }

    /// Starts zoned and waits until it answers; how long that took.
    pub(crate) fn start_zoned(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut zoned = Command::new(self.binaries.join("zoned"));
        zoned
            .arg("--config-dir")
            .arg(self.folder.join("etc"))
            .arg("--state-dir")
            .arg(self.folder.join("lib"))
            .arg("--run-dir")
            .arg(self.folder.join("run"))
            // Downloads are kept for the next run, beside what is built.
            .arg("--cache-dir")
            .arg(workspace::cache())
            .args(["--cgroup-name", &self.cgroup, "--uplink", UPLINK])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal is for this program; its guard ends the daemon.
            .process_group(0);
        let mut zoned = self.hosts.host.within(|| zoned.spawn())?.context("cannot run zoned")?;
        let socket = self.socket();
        loop {
            if UnixStream::connect(&socket).is_ok() {
                break;
            }
            if let Some(status) = zoned.try_wait()? {
                bail!("zoned ended at its start ({status}):\n{}", progress::tail(&self.log(), 20));
            }
            if begun.elapsed() > START_LIMIT {
                self.zoned = Some(zoned);
                bail!("zoned does not answer after {START_LIMIT:?}:\n{}", progress::tail(&self.log(), 20));
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.zoned = Some(zoned);
        Ok(begun.elapsed())
    }

    /// Ends zoned by SIGKILL.
    pub(crate) fn kill_zoned(&mut self) -> Result<()> {
        let mut zoned = self.zoned.take().context("zoned is not running")?;
        zoned.kill().context("cannot kill zoned")?;
        zoned.wait()?;
        Ok(())
    }

    /// Starts zoned with other options than before.
    pub(crate) fn restart_with(&mut self, options: Vec<String>) -> Result<Duration> {
        self.options = options;
        self.start_zoned()
    }

    /// Process id of zoned.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.zoned.as_ref().map(Child::id).context("zoned is not running")
    }

    /// Name of the group of its zones in each hierarchy.
    pub(crate) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The socket it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("run/zoned.sock")
    }

    /// The network it finds, and what is behind that.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Where everything of it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A zonectl that talks to it, with no input.
    pub(crate) fn zonectl<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut zonectl = Command::new(self.binaries.join("zonectl"));
        zonectl.env("ZONED_SOCKET", self.socket()).args(args).stdin(Stdio::null());
        zonectl
    }

    /// Runs zonectl, which must succeed in ten minutes; its standard output.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<String> {
        let output =
            limited(&self.zonectl(args.iter().copied()), ASK_LIMIT).output().context("cannot run zonectl")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "zonectl {} ({}): {}",
            args.join(" "),
            output.status,
            complaint.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// As [`Daemon::ask`] with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.ask(&[args, &["--json"]].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("zonectl {} --json printed no JSON", args.join(" ")))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// The same command, ended after so many seconds; then it fails with status 124.
pub(crate) fn limited(command: &Command, seconds: u32) -> Command {
    let mut limited = Command::new("timeout");
    limited
        .arg("--kill-after=5")
        .arg(seconds.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

/// Asks a [`limited`] command to end, if it has not, and waits until it has.
pub(crate) fn end(child: &mut Child) {
    // Not yet waited for, so the id is still its own.
    if let Ok(None) = child.try_wait()
        && let Ok(pid) = i32::try_from(child.id())
    {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut zoned) = self.zoned.take() {
            // A failure leaves it to the guard.
            let _ = zoned.kill().and_then(|()| zoned.wait());
        }
        // The guard begins when its input ends.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        if fs::exists(&self.folder).unwrap_or(true) {
            eprintln!("warning: {} could not be removed", self.folder.display());
        }
    }
}
