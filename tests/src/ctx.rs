//! The context of one test.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, FileTypeExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::{Netns, Outcome, binaries, run, run_with, wait};

/// A daemon of a test's own. Dropping it removes all it made.
#[derive(Debug)]
pub struct TestCtx {
    /// Folder of everything: `lib`, `run`, `etc`, `log`.
    pub dir: PathBuf,
    /// Name of the cgroup of its zones.
    pub cgroup: String,
    /// Where the daemon finds its network, if not on the machine's own.
    pub netns: Option<Netns>,
    /// Options of the daemon beside the usual ones.
    pub options: Vec<String>,
    daemon: Option<Child>,
    guard: Child,
}

impl TestCtx {
    /// Starts a daemon and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it starts processes")]
    pub fn new() -> Self {
        Self::with(None, &[])
    }

    /// As [`TestCtx::new`], in a network namespace and with more options.
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn with(netns: Option<Netns>, options: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zt-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        fs::DirBuilder::new().mode(0o700).create(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut guard = Command::new(binaries::path("zone-test-guard"));
        guard.arg(&dir).arg(&name).stdin(Stdio::piped());
        let guard = guard.spawn().unwrap_or_else(|e| panic!("the guard: {e}"));
        let options = options.iter().map(ToString::to_string).collect();
        let mut ctx = Self { dir, cgroup: name, netns, options, daemon: None, guard };
        ctx.start_daemon();
        ctx
    }

    /// The daemon's command line.
    pub fn daemon_command(&self) -> Command {
        let mut command = Command::new(binaries::path("zoned"));
        for (option, folder) in [("--config-dir", "etc"), ("--state-dir", "lib"), ("--run-dir", "run")] {
            command.arg(option).arg(self.dir.join(folder));
        }
        command.args(["--cgroup-name", &self.cgroup, "--log", "debug"]).args(&self.options);
        // A kernel has one scheduler, and tests have their daemons side by side: who wants it asks for it.
        let told = self.dir.join("etc/zoned.yaml");
        let told = if told.is_file() { fs::read_to_string(told).unwrap_or_default() } else { String::new() };
        if !self.options.iter().any(|option| option == "--cpu-backend") && !told.contains("cpu-backend:") {
            command.args(["--cpu-backend", "deficit,shares"]);
        }
        if let Some(cache) = std::env::var_os("ZONES_CACHE") {
            command.arg("--cache-dir").arg(cache);
        }
        command
    }

    /// Starts the daemon (again) and waits until it answers.
    ///
    /// # Panics
    /// If it does not, with its log.
    #[track_caller]
    pub fn start_daemon(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log"));
        let log = log.unwrap_or_else(|e| panic!("the daemon's log: {e}"));
        let mut command = self.daemon_command();
        command.stdin(Stdio::null()).stderr(log);
        let spawned = match &self.netns {
            Some(netns) => netns.within(|| command.spawn()),
            None => command.spawn(),
        };
        let mut child = spawned.unwrap_or_else(|e| panic!("zoned: {e}"));
        // An answer, not a mere connection: the socket of a daemon that was killed may live a moment longer.
        let up = wait::within(std::time::Duration::from_secs(60), || {
            let ended = child.try_wait().ok().flatten();
            (ended.is_some() || self.zonectl(&["list"]).code == 0).then_some(ended)
        });
        self.daemon = Some(child);
        assert!(matches!(up, Some(None)), "zoned did not come up: {up:?}\n{}", self.log());
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// If it was not started.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().map(Child::id).unwrap_or_else(|| panic!("no daemon was started"))
    }

    /// `kill -9` of the daemon.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().unwrap_or_else(|| panic!("no daemon was started"));
        daemon.kill().and_then(|()| daemon.wait()).unwrap_or_else(|e| panic!("kill zoned: {e}"));
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("run/zoned.sock")
    }

    /// A zonectl command that talks to this daemon.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binaries::path("zonectl"));
        command.arg("--socket").arg(self.socket()).args(args);
        command
    }

    /// Runs zonectl.
    #[track_caller]
    pub fn zonectl(&self, args: &[&str]) -> Outcome {
        run(self.command(args))
    }

    /// Runs zonectl, which must succeed; its standard output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.zonectl(args).ok()
    }

    /// Creates a zone from YAML.
    #[track_caller]
    pub fn create(&self, yaml: &str) -> Outcome {
        run_with(self.command(&["create", "-f", "-"]), yaml.as_bytes())
    }

    /// Creates, installs and boots a zone from YAML.
    #[track_caller]
    pub fn boot(&self, yaml: &str) {
        self.create(yaml).ok();
        let name = zoned_api::ZoneConfig::parse(yaml).unwrap_or_else(|e| panic!("{e}")).zone;
        self.ok(&["install", name.as_str()]);
        self.ok(&["boot", name.as_str()]);
    }

    /// Runs a shell script in a zone, as its root.
    #[track_caller]
    pub fn sh(&self, zone: &str, script: &str) -> Outcome {
        self.zonectl(&["exec", zone, "--", "/bin/sh", "-c", script])
    }

    /// `zonectl … --json`, parsed.
    ///
    /// # Panics
    /// If it fails or prints no JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let text = self.ok(&all);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}"))
    }

    /// What `info` says of a zone.
    #[track_caller]
    pub fn info(&self, zone: &str) -> Value {
        let info = self.json(&["info", zone]);
        // One zone or a list of one.
        info.get(0).cloned().unwrap_or(info)
    }

    /// The zone's state.
    #[track_caller]
    pub fn state(&self, zone: &str) -> String {
        self.info(zone)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for a state of a zone.
    #[track_caller]
    pub fn wait_state(&self, zone: &str, state: &str) {
        wait::until(&format!("zone {zone} is {state}"), || self.state(zone) == state);
    }

    /// Takes every zone down and away, and checks that nothing is left of any.
    ///
    /// # Panics
    /// If something is.
    #[track_caller]
    pub fn finish(mut self) {
        let list = self.json(&["list"]);
        let zones = list["zones"].as_array().unwrap_or_else(|| panic!("list --json: {list}"));
        for zone in zones {
            let name = zone["zone"].as_str().unwrap_or_default();
            let state = zone["state"].as_str().unwrap_or_default();
            if !matches!(state, "configured" | "incomplete" | "installed") {
                self.ok(&["halt", name]);
            }
            if state != "configured" {
                self.ok(&["uninstall", "--force", name]);
            }
            self.ok(&["delete", "--force", name]);
        }
        let audit = self.zonectl(&["audit"]);
        assert_eq!(audit.code, 0, "something is left: {}\n{}", audit.stdout, audit.stderr);
        self.stop_daemon();
        let left = leftovers(&self.dir.join("run"));
        assert!(left.is_empty(), "left in the run folder: {left:?}");
    }

    /// Ends the daemon by SIGTERM, which leaves zones as they are.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn stop_daemon(&mut self) {
        let mut daemon = self.daemon.take().unwrap_or_else(|| panic!("no daemon was started"));
        let pid = nix::unistd::Pid::from_raw(daemon.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)
            .unwrap_or_else(|e| panic!("SIGTERM: {e}"));
        wait::until("zoned has ended", || matches!(daemon.try_wait(), Ok(Some(_))));
    }
}

/// Sockets and zones' folders below a run folder.
fn leftovers(run: &Path) -> Vec<PathBuf> {
    let zones = fs::read_dir(run.join("zones")).into_iter().flatten().flatten().map(|e| e.path());
    let sockets = fs::read_dir(run).into_iter().flatten().flatten();
    let sockets = sockets.filter(|e| e.file_type().is_ok_and(|t| t.is_socket())).map(|e| e.path());
    zones.chain(sockets.filter(|s| !s.ends_with("zoned.sock"))).collect()
}

impl Drop for TestCtx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(60).collect::<Vec<_>>();
            let _ = writeln!(std::io::stderr(), "--- end of the daemon's log");
            for line in tail.iter().rev() {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // The guard begins when its input ends.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
