//! The cgroup2 tree: the controllers a host has in it, events and `cpu.stat`.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{CgroupError, make_way};
use crate::fault::whole;

/// What a zone may be limited by.
const WANTED: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];

/// The cgroup2 tree, and the folder of all zones in it.
#[derive(Debug)]
pub(super) struct Unified {
    root: PathBuf,
    parent: PathBuf,
    /// Controllers that zones have, once they are enabled.
    given: OnceLock<String>,
}

impl Unified {
    pub(super) fn new(root: PathBuf, name: &str) -> Self {
        Self { parent: root.join(name), root, given: OnceLock::new() }
    }

    /// Parent of all zones.
    pub(super) fn parent(&self) -> &Path {
        &self.parent
    }

    /// Makes the parent folder, with every controller a zone may need.
    pub(super) fn prepare(&self) -> Result<(), CgroupError> {
        make_way(&self.parent)?;
        // Zones work without controllers, only unlimited: a root that holds processes of its own, as in a container,
        // can give none to groups below it (cgroups(7), no internal processes).
        if let Err(e) = enable(&self.root).and_then(|()| enable(&self.parent)) {
            tracing::warn!("zones will have fewer resource controllers: {}", whole(&e));
        }
        Ok(())
    }

    /// Makes the controllers available to the groups of a boot: the zone's own init finds them in its root.
    pub(super) fn open_to(&self, tag: &str) -> Result<(), CgroupError> {
        enable(&self.parent.join(tag))
    }

    /// Whether zones have a controller of this tree.
    pub(super) fn gives(&self, controller: &str) -> bool {
        let control = || fs::read_to_string(self.parent.join("cgroup.subtree_control")).unwrap_or_default();
        self.given.get_or_init(control).split_whitespace().any(|word| word == controller)
    }

    /// Whether a device shares by weight through io.cost.
    pub(super) fn costs_io(&self) -> bool {
        fs::read_to_string(self.root.join("io.cost.qos")).is_ok_and(|text| text.contains("enable=1"))
    }

    /// Tasks the boot has, where the controller is in this tree.
    pub(super) fn tasks(&self, tag: &str) -> Option<u64> {
        fs::read_to_string(self.parent.join(tag).join("pids.current")).ok()?.trim().parse().ok()
    }

    /// For `doctor`: which controllers are in this tree.
    pub(super) fn describe(&self) -> String {
        let have = fs::read_to_string(self.root.join("cgroup.controllers")).unwrap_or_default();
        format!("cgroup2 at {}, controllers: {}", self.root.display(), have.trim())
    }
}

/// Makes the wanted controllers available below a group, as far as it has them itself.
fn enable(group: &Path) -> Result<(), CgroupError> {
    let have = group.join("cgroup.controllers");
    let have = fs::read_to_string(&have).map_err(CgroupError::io(&have, "read"))?;
    let control = group.join("cgroup.subtree_control");
    let on = fs::read_to_string(&control).map_err(CgroupError::io(&control, "read"))?;
    let has = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    for name in WANTED.iter().filter(|n| has(&have, n) && !has(&on, n)) {
        fs::write(&control, format!("+{name}")).map_err(CgroupError::io(&control, "enable a controller"))?;
    }
    Ok(())
}

/// CPU time of a group by `cpu.stat`, which every group but the root has with or without the cpu controller.
pub(super) fn usage_ns(group: &Path) -> Option<u64> {
    let stat = fs::read_to_string(group.join("cpu.stat")).ok()?;
    let usec: u64 = stat.lines().find_map(|l| l.strip_prefix("usage_usec "))?.parse().ok()?;
    Some(usec * 1000)
}

/// Waits until `cgroup.events` of a group has a line, or time is up (false). A group that is gone is empty.
///
/// The kernel marks the file with POLLPRI whenever it changes (cgroups(7)); the first read arms that.
pub(super) fn wait_for_event(group: &Path, line: &str, within: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + within;
    let mut events = File::open(group.join("cgroup.events"))?;
    let mut text = String::new();
    loop {
        text.clear();
        events.seek(SeekFrom::Start(0))?;
        match events.read_to_string(&mut text) {
            // ENODEV: removed while it was open.
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => return Ok(true),
            other => other?,
        };
        if text.lines().any(|l| l == line) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            other => drop(other?),
        }
    }
}
