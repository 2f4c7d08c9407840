//! Zones to break out of, and the places where the same script must not be refused.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use zone_tests::{Outcome, TestCtx, run};

/// The attacking program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_zone-attack");

/// Where the attacking program is in a zone.
pub(crate) const INSIDE: &str = "/opt/attack/zone-attack";

/// The built-in profile, for brands that differ from it in one thing.
pub(crate) const NATIVE: &str = include_str!("../../brands/profiles/native.yaml");

/// Where, and as whom, a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In a zone, as its root.
    Zone(&'static str),
    /// In a zone, in a user namespace (and all other kinds) that its root has made.
    Nested(&'static str),
    /// In a zone whose brand has no system-call filter: what the rest of the isolation says.
    Unfiltered,
    /// On the host, as root.
    Host,
    /// On the host, as this user without privileges.
    HostUser(u32),
    /// On the host's files, network and processes, with only the user namespace of a zone left around it.
    Escaped(&'static str),
    /// On the host, as root, with only the cgroup of a zone around it: the eBPF programs.
    Group(&'static str),
}

/// A daemon with zones that have the attacking program in them.
pub(crate) struct Arena {
    pub(crate) ctx: TestCtx,
}

impl Arena {
    /// Boots these sparse zones; the one named `unfiltered` has no system-call filter.
    pub(crate) fn new(zones: &[&str]) -> Self {
        let mut ctx = TestCtx::new();
        let share = ctx.dir.join("share");
        fs::create_dir(&share).unwrap();
        fs::copy(PROGRAM, share.join("zone-attack")).unwrap();
        fs::write(ctx.dir.join("secret"), "the host's\n").unwrap();
        if zones.contains(&"unfiltered") {
            weaken(&mut ctx);
        }
        let arena = Self { ctx };
        for zone in zones {
            arena.ctx.boot(&arena.config(zone));
        }
        arena
    }

    /// The configuration of a zone of the arena.
    pub(crate) fn config(&self, zone: &str) -> String {
        let brand = if zone == "unfiltered" { zone } else { "native" };
        let share = self.share();
        format!(
            "zone: {zone}\nbrand: {brand}\nfs: [{{ source: {}, target: /opt/attack, options: [ro] }}]",
            share.display()
        )
    }

    /// The folder of the host that zones see as `/opt/attack`.
    pub(crate) fn share(&self) -> PathBuf {
        self.ctx.dir.join("share")
    }

    /// A file of the host that no zone sees.
    pub(crate) fn secret(&self) -> String {
        self.ctx.dir.join("secret").display().to_string()
    }

    /// What comes of each script in a place.
    #[track_caller]
    pub(crate) fn run(&self, place: Place, scripts: &[String]) -> Vec<String> {
        let said = match place {
            Place::Zone(zone) => self.inside(zone, &[], scripts),
            Place::Nested(zone) => self.inside(zone, &["--nested"], scripts),
            Place::Unfiltered => self.inside("unfiltered", &[], scripts),
            Place::Host => self.outside(&[], scripts),
            Place::HostUser(uid) => self.outside(&["--as", &uid.to_string()], scripts),
            Place::Escaped(zone) => {
                let pid = self.init_pid(zone).to_string();
                self.outside(&["--enter", &pid, "user"], scripts)
            }
            Place::Group(zone) => {
                let group = self.group(zone).join("exec").display().to_string();
                self.outside(&["--cgroup", &group], scripts)
            }
        };
        let lines: Vec<String> = said.ok().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), scripts.len(), "{place:?}: {lines:?}");
        lines
    }

    /// What comes of one script in a place.
    #[track_caller]
    pub(crate) fn one(&self, place: Place, script: impl Into<String>) -> String {
        self.run(place, &[script.into()]).remove(0)
    }

    fn inside(&self, zone: &str, options: &[&str], scripts: &[String]) -> Outcome {
        let mut args = vec!["exec", zone, "--", INSIDE];
        args.extend(options);
        args.extend(scripts.iter().map(String::as_str));
        self.ctx.zonectl(&args)
    }

    fn outside(&self, options: &[&str], scripts: &[String]) -> Outcome {
        let mut command = Command::new(PROGRAM);
        command.args(options).args(scripts);
        run(command)
    }

    /// PID 1 of a zone in the host's numbering.
    pub(crate) fn init_pid(&self, zone: &str) -> u64 {
        self.ctx.info(zone)["init_pid"].as_u64().expect("a running zone")
    }

    /// The zone's folder in the cgroup2 tree.
    pub(crate) fn group(&self, zone: &str) -> PathBuf {
        let info = self.ctx.info(zone);
        let tag = format!("{}.{}", info["uuid"].as_str().unwrap(), info["boot"]);
        cgroup2().join(&self.ctx.cgroup).join(tag)
    }

    /// The zone's folder in the hierarchy of version 1 that has this controller, if the host has one.
    pub(crate) fn v1_group(&self, zone: &str, controller: &str) -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let of = |line: &&str| {
            let fields: Vec<_> = line.split(' ').collect();
            fields[2] == "cgroup" && fields[3].split(',').any(|option| option == controller)
        };
        let mount = Path::new(mounts.lines().find(of)?.split(' ').nth(1)?);
        Some(mount.join(&self.ctx.cgroup).join(self.group(zone).file_name()?))
    }

    /// The folder in the host's state that holds what a zone wrote.
    pub(crate) fn dataset(&self, zone: &str) -> PathBuf {
        let info = self.ctx.info(zone);
        self.ctx.dir.join("lib/datasets").join(info["uuid"].as_str().unwrap())
    }

    /// The host's mounts at places that the zones' scripts mount on, or below the daemon's folders.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = |target: &str| {
            let daemons = Path::new(target).starts_with(&self.ctx.dir) && !target.ends_with("/run/bpf");
            daemons || ["/usr", "/tmp", "/mnt", "/run"].contains(&target)
        };
        all.lines().filter(|line| line.split(' ').nth(4).is_some_and(ours)).map(str::to_owned).collect()
    }

    /// Takes everything down; nothing may be left.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.ctx.finish();
    }
}

/// One arena for all tests that leave its zones as they are; the last to let go of it takes it down.
pub(crate) struct Shared(Option<Arena>);

/// The arena of all, with the zones `a`, `b` and `unfiltered`.
#[track_caller]
pub(crate) fn shared() -> Arc<Shared> {
    static ARENA: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    arena.upgrade().unwrap_or_else(|| {
        let new = Arc::new(Shared(Some(Arena::new(&["a", "b", "unfiltered"]))));
        *arena = Arc::downgrade(&new);
        new
    })
}

impl Deref for Shared {
    type Target = Arena;

    fn deref(&self) -> &Arena {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(arena) = self.0.take()
            && !std::thread::panicking()
        {
            arena.finish();
        }
    }
}

/// Where the host's cgroup2 tree is.
pub(crate) fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    line.and_then(|line| line.split(' ').nth(1)).expect("a cgroup2 tree").into()
}

/// Adds the brand `unfiltered`.
fn weaken(ctx: &mut TestCtx) {
    let (rules, filter) = NATIVE.split_once("\nsyscalls:\n").expect("the filter is last");
    assert!(!filter.lines().any(|line| line.starts_with(|c: char| c.is_ascii_lowercase())), "it is not last");
    add_brand(ctx, "unfiltered", rules);
}

/// Adds a brand, which the daemon reads when it starts: a profile like the built-in one, by another name.
pub(crate) fn add_brand(ctx: &mut TestCtx, name: &str, profile: &str) {
    let folder = ctx.dir.join("etc/brands");
    fs::create_dir_all(&folder).unwrap();
    let profile = profile.replace("name: native", &format!("name: {name}"));
    fs::write(folder.join(format!("{name}.yaml")), profile).unwrap();
    ctx.stop_daemon();
    ctx.start_daemon();
}
