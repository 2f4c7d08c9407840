//! Zones in every state there is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use zone_tests::{TestCtx, wait};
use zoned_api::State;

/// A command that SIGTERM does not end, and that says when it has come that far.
pub const STUBBORN: &str =
    r#"process: { command: [/bin/sh, -c, 'trap "" TERM; echo deaf; exec sleep 1000000'] }"#;

/// A zone in a state, and what keeps it there.
#[derive(Debug)]
pub struct Held {
    /// Its name.
    pub zone: String,
    /// Its state.
    pub state: State,
    /// A process of the host's in a group of a zone that is down.
    holder: Option<Holder>,
    /// The client whose shutdown a zone that shuts down is at.
    client: Option<Holder>,
}

impl Held {
    /// Ends what keeps a zone down.
    pub fn release(&mut self) {
        self.holder = None;
    }

    /// Pid of what keeps a zone down.
    pub fn holder(&self) -> Option<u32> {
        self.holder.as_ref().map(|holder| holder.0.id())
    }
}

/// A child that ends with its owner.
#[derive(Debug)]
pub struct Holder(pub Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Creates a zone and drives it into a state.
#[track_caller]
pub fn drive(ctx: &TestCtx, zone: &str, state: State) -> Held {
    let mut held = Held { zone: zone.to_owned(), state, holder: None, client: None };
    let more = match state {
        State::Incomplete => format!("root: {{ image: 'tar:{}' }}", no_archive(ctx)),
        State::ShuttingDown => STUBBORN.to_owned(),
        _ => String::new(),
    };
    ctx.create(&format!("zone: {zone}\n{more}\n")).ok();
    if state == State::Incomplete {
        ctx.zonectl(&["install", zone]).refuses(1, "not a tar archive");
    } else if state != State::Configured {
        ctx.ok(&["install", zone]);
    }
    match state {
        State::Configured | State::Incomplete | State::Installed => {}
        State::Ready => drop(ctx.ok(&["ready", zone])),
        _ => drop(ctx.ok(&["boot", zone])),
    }
    match state {
        State::Paused => drop(ctx.ok(&["pause", zone])),
        State::ShuttingDown => {
            wait::until("the command ignores SIGTERM", || log(ctx, zone).contains("deaf"));
            let mut shutdown = ctx.command(&["shutdown", "--timeout", "1000", zone]);
            shutdown.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            held.client = Some(Holder(shutdown.spawn().unwrap()));
            ctx.wait_state(zone, "shutting-down");
        }
        State::Down => {
            held.holder = Some(hold(ctx, zone));
            let said = ctx.zonectl(&["halt", zone]).refuses(1, "not all of it could be taken down");
            assert!(said.contains(&held.holder().unwrap().to_string()), "names the holder: {said}");
        }
        _ => {}
    }
    assert_eq!(ctx.state(zone), state.as_str(), "{zone} could not be driven there");
    held
}

/// A file that can be read and not be unpacked.
fn no_archive(ctx: &TestCtx) -> String {
    let path = ctx.dir.join("no-archive.tar");
    fs::write(&path, "no archive, whatever its name says\n").unwrap();
    path.display().to_string()
}

/// Whether a zone can be driven to a state here: `down` takes a group of cgroup v1, which alone can be held.
pub fn can_be(state: State) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    state != State::Down || mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup"))
}

/// Puts a process of the host's into a cgroup v1 group of a zone, where `cgroup.kill` does not reach it: the
/// group cannot be removed (EBUSY) as long as it lives.
pub fn hold(ctx: &TestCtx, zone: &str) -> Holder {
    let child = Holder(Command::new("sleep").arg("1000").spawn().unwrap());
    let group = groups(ctx, zone).into_iter().find(|group| group.1 == "cgroup");
    let (group, _) = group.expect("a host with cgroup v1: on others nothing can hold a zone's group");
    fs::write(group.join("cgroup.procs"), child.0.id().to_string()).unwrap();
    child
}

/// The groups of a zone's boot that exist, with the type of their hierarchy.
pub fn groups(ctx: &TestCtx, zone: &str) -> Vec<(PathBuf, String)> {
    let info = ctx.info(zone);
    let tag = format!("{}.{}", info["uuid"].as_str().unwrap(), info["boot"]);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let trees = mounts.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let group = Path::new(fields[1]).join(&ctx.cgroup).join(&tag);
        (fields[2].starts_with("cgroup") && group.is_dir()).then(|| (group, fields[2].to_owned()))
    });
    trees.collect()
}

/// What a zone's console has printed.
#[track_caller]
pub fn log(ctx: &TestCtx, zone: &str) -> String {
    ctx.ok(&["console", "--log", zone])
}

/// The zone's init on the host.
#[track_caller]
pub fn init(ctx: &TestCtx, zone: &str) -> u64 {
    ctx.info(zone)["init_pid"].as_u64().expect("a first process")
}
