//! The groups a zone's processes are in.
//!
//! ```text
//! <cgroup2>/<name>/<uuid>.<boot>/           the host's: identity, kill, freeze, limits
//!                               ├─ payload/ the zone's: its cgroup namespace begins here
//!                               └─ exec/    leaf for what `exec` starts
//! <v1 hierarchy>/<name>/<uuid>.<boot>/      on hosts with cgroup v1, in every hierarchy
//! ```
//! Owns the folder `<name>` in each hierarchy. Kill, freeze and identity go through cgroup2 on every host; each resource
//! controller is in one hierarchy of version 1 or in the cgroup2 tree. What a host has is found by looking at what is
//! mounted, at each boot again, and never by a version.
//!
//! A folder in which `cgroup.kill` was ever written kills whatever is cloned into it later (6.18), so each boot
//! gets a folder of its own, named by its number.

mod blkio;
mod controllers;
mod cpus;
mod enforceable;
mod legacy;
mod limits;
mod settings;
mod together;
mod unified;
mod walk;
mod weight;
mod writeback;

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

pub use self::{
    blkio::{CAPS, Moved, caps},
    controllers::{Counters, Hits, Taken},
    cpus::Asking,
    enforceable::Enforced,
    limits::LimitError,
    settings::Disks,
    together::{Beside, DEFAULT_SHARES},
};
use self::{legacy::Legacy, unified::Unified};
use crate::{
    mountinfo::{self, Mount},
    plan::{Cgroups, IdRange},
    platform::{At, Failure},
};

/// What is mounted.
const MOUNTS: &str = "/proc/self/mountinfo";

/// How long the processes of a zone may take to die after SIGKILL before that is called a failure.
const DEATH: Duration = Duration::from_secs(10);

/// How long the processes of a zone may take to stop at a freeze.
const FREEZE: Duration = Duration::from_secs(10);

/// What can go wrong with a zone's groups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup2 tree is mounted.
    #[error("cgroup2 is not mounted; mount it with `mount -t cgroup2 none /sys/fs/cgroup`")]
    NoCgroup2,
    /// The name of the parent group is not one path component.
    #[error("cgroup name {0:?}: not the name of one folder")]
    BadName(String),
    /// A file of the tree could not be worked with.
    #[error("cgroup {path}: cannot {doing}")]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Zones cannot be weighed against the host.
    #[error("--zones-shares {0}: zones have no cpu controller on this host; leave the option out")]
    NoShares(u64),
    /// Processes outlived SIGKILL.
    #[error("cgroup {path}: still holds processes {} s after they were killed: {pids}", DEATH.as_secs())]
    Alive {
        /// The zone's group.
        path: PathBuf,
        /// Some of them, with their names.
        pids: String,
    },
    /// Processes did not stop or go on.
    #[error("cgroup {path}: its processes were not {} within {} s", if *frozen { "frozen" } else { "thawed" }, FREEZE.as_secs())]
    Freeze {
        /// The zone's group.
        path: PathBuf,
        /// What was asked.
        frozen: bool,
    },
}

impl CgroupError {
    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }
}

/// The groups of all zones on this host.
#[derive(Debug)]
pub struct Tree {
    name: String,
    unified: Unified,
    legacy: RwLock<Arc<Legacy>>,
}

/// Whether the group of all zones can have a name: it is a folder right below each root.
pub fn is_group_name(name: &str) -> bool {
    !(name.is_empty() || name.contains('/') || name.starts_with('.'))
}

impl Tree {
    /// Looks at what is mounted. `name` is the folder to work in; nothing is made.
    pub fn discover(name: &str) -> Result<Self, CgroupError> {
        if !is_group_name(name) {
            return Err(CgroupError::BadName(name.to_owned()));
        }
        let mounts = mountinfo::mounts().map_err(CgroupError::io(Path::new(MOUNTS), "read"))?;
        let root = whole(&mounts, "cgroup2").next().ok_or(CgroupError::NoCgroup2)?.target.clone();
        let legacy = Legacy::new(whole(&mounts, "cgroup"), name);
        Ok(Self {
            name: name.to_owned(),
            unified: Unified::new(root, name),
            legacy: RwLock::new(Arc::new(legacy)),
        })
    }

    /// The hierarchies of version 1 that are mounted now: one may come at any time, a named one even on hosts whose
    /// controllers are all in the cgroup2 tree.
    fn look(&self) -> Arc<Legacy> {
        let mut known = self.legacy.write().unwrap_or_else(PoisonError::into_inner);
        // Where it cannot be read, what was there before is the best guess.
        if let Ok(mounts) = mountinfo::mounts() {
            *known = Arc::new(Legacy::new(whole(&mounts, "cgroup"), &self.name));
        }
        known.clone()
    }

    /// Those that were mounted when a boot or its end last looked.
    fn known(&self) -> Arc<Legacy> {
        self.legacy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Parent of all zones in the cgroup2 tree.
    pub fn parent(&self) -> &Path {
        self.unified.parent()
    }

    /// Where the resource controllers of this host are, in words.
    pub fn describe(&self) -> String {
        self.look().describe().unwrap_or_else(|| self.unified.describe())
    }

    /// Makes the parent folders; all zones together have so many shares against each group of the host's own, which has
    /// [`DEFAULT_SHARES`] by default.
    pub fn prepare(&self, shares: u64) -> Result<(), CgroupError> {
        self.unified.prepare()?;
        self.known().prepare()?;
        self.weigh_together(shares)
    }

    /// Removes the parent folders if they are empty.
    pub fn remove_parents(&self) {
        for folder in self.look().parents().iter().map(PathBuf::as_path).chain([self.parent()]) {
            // Not empty or gone: both are as they should be.
            let _ = fs::remove_dir(folder);
        }
    }

    /// Folder of one boot in the cgroup2 tree.
    pub fn zone(&self, tag: &str) -> PathBuf {
        self.parent().join(tag)
    }

    /// Makes the groups of one boot; `ids` get to own `payload`.
    ///
    /// What was made is left behind on an error, for [`Tree::remove`].
    pub fn create(&self, tag: &str, ids: IdRange) -> Result<Cgroups, CgroupError> {
        let zone = self.zone(tag);
        make_way(&zone)?;
        self.unified.open_to(tag)?;
        let v1 = self.look().create(tag)?;
        let (payload, exec) = (zone.join("payload"), zone.join("exec"));
        make(&payload)?;
        make(&exec)?;
        // Only these: whoever owns cgroup.kill or cgroup.freeze of its own root could be told from the host by it,
        // and limits stay the host's (cgroups(7), delegation).
        let own = |path: &Path| {
            chown(path, Some(ids.base), Some(ids.base)).map_err(CgroupError::io(path, "give to the zone"))
        };
        own(&payload)?;
        for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            own(&payload.join(file))?;
        }
        Ok(Cgroups { zone, payload, exec, v1 })
    }

    /// Id of a boot's group: what eBPF programs see of it.
    pub fn id(&self, tag: &str) -> Result<u64, CgroupError> {
        let zone = self.zone(tag);
        fs::metadata(&zone).map(|m| m.ino()).map_err(CgroupError::io(&zone, "look at"))
    }

    /// Kills every process of a boot and waits until the last is gone. No group, no error.
    pub fn kill(&self, tag: &str) -> Result<(), CgroupError> {
        let zone = self.zone(tag);
        self.hurry(tag);
        match fs::write(zone.join("cgroup.kill"), "1") {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(CgroupError::io(&zone, "kill"))?,
        }
        let empty = unified::wait_for_event(&zone, "populated 0", DEATH);
        if empty.map_err(CgroupError::io(&zone, "wait for its end"))? {
            return Ok(());
        }
        Err(CgroupError::Alive { pids: walk::processes(&zone), path: zone })
    }

    /// Freezes or thaws every process of a boot, and waits until that is so.
    pub fn freeze(&self, tag: &str, frozen: bool) -> Result<(), CgroupError> {
        let zone = self.zone(tag);
        let (value, event) = if frozen { ("1", "frozen 1") } else { ("0", "frozen 0") };
        fs::write(zone.join("cgroup.freeze"), value).map_err(CgroupError::io(&zone, "freeze or thaw"))?;
        let done = unified::wait_for_event(&zone, event, FREEZE);
        if done.map_err(CgroupError::io(&zone, "wait for its freezer"))? {
            return Ok(());
        }
        Err(CgroupError::Freeze { path: zone, frozen })
    }

    /// Whether a boot has been told to freeze.
    pub fn is_frozen(&self, tag: &str) -> bool {
        fs::read_to_string(self.zone(tag).join("cgroup.freeze")).is_ok_and(|t| t.trim() == "1")
    }

    /// Removes the groups of one boot with all that the zone made in them. Goes on after errors; returns all.
    pub fn remove(&self, tag: &str) -> Vec<CgroupError> {
        let folders = self.look().parents().into_iter().map(|parent| parent.join(tag));
        folders.chain([self.zone(tag)]).filter_map(|folder| remove(&folder).err()).collect()
    }

    /// CPU time a boot has taken by the kernel's own account, nanoseconds.
    pub fn usage_ns(&self, tag: &str) -> Option<u64> {
        self.known().usage_ns(tag).or_else(|| unified::usage_ns(&self.zone(tag)))
    }

    /// Tasks a boot has now.
    pub fn tasks(&self, tag: &str) -> Option<u64> {
        self.known().tasks(tag).or_else(|| self.unified.tasks(tag))
    }

    /// Every folder there is for any boot, in every hierarchy, with its tag. For the audit.
    pub fn existing(&self) -> Vec<(PathBuf, String)> {
        let parents = self.look().parents().into_iter().chain([self.parent().to_owned()]);
        parents.flat_map(|parent| walk::folders(&parent)).collect()
    }

    /// Pids of processes in a folder or below it, with their names, at most a few. For messages.
    pub fn processes(&self, folder: &Path) -> String {
        walk::processes(folder)
    }
}

/// Moves this process, which must have one thread, into groups of cgroup v1.
///
/// Through `tasks`, not `cgroup.procs`: only a move of the calling thread itself (`0`) does without the kernel's lock
/// against forks, whose first taker after a pause waits 4 to 12 ms for an RCU grace period
/// (`cgroup_procs_write_start` in kernel/cgroup/cgroup.c, since 5.5).
pub fn join(groups: &[PathBuf]) -> Result<(), Failure> {
    // Going on without would leave the process in the host's own group.
    let gone = "the hierarchy is no longer mounted there; mount it again, or reboot the zone";
    groups.iter().map(|group| group.join("tasks")).try_for_each(|tasks| {
        OpenOptions::new()
            .write(true)
            .open(&tasks)
            .and_then(|mut file| file.write_all(b"0"))
            .at("join", tasks.display())
            .map_err(|e| e.because(libc::ENOENT, gone))
    })
}

/// The mounts of a kind of cgroup tree that show all of it and are not covered.
fn whole<'m>(mounts: &'m [Mount], fstype: &'m str) -> impl Iterator<Item = &'m Mount> {
    mounts.iter().filter(move |m| m.fstype == fstype && m.root == Path::new("/") && m.visible())
}

/// Makes a folder; there already is fine.
fn make(path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(CgroupError::io(path, "make")),
    }
}

/// Makes a group that others may go through, and not look into. Before Linux 6.16 a zone's mount of its own group walks
/// there from the tree's root with the rights of the zone's root.
fn make_way(path: &Path) -> Result<(), CgroupError> {
    make(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o711))
        .map_err(CgroupError::io(path, "open a way through"))
}

/// Removes a group and all below it; gone already is fine.
fn remove(path: &Path) -> Result<(), CgroupError> {
    let busy = |e: &io::Error| e.raw_os_error() == Some(libc::EBUSY);
    // Most have nothing below them, and need no walk.
    let removed = match fs::remove_dir(path) {
        Err(e) if busy(&e) => walk::remove(path),
        other => other,
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if busy(&e) => {
            let pids = walk::processes(path);
            let text = if pids.is_empty() {
                "busy, by something without processes".into()
            } else {
                format!("holds {pids}")
            };
            Err(CgroupError::Io { path: path.to_owned(), doing: "remove", source: io::Error::other(text) })
        }
        other => other.map_err(CgroupError::io(path, "remove")),
    }
}
