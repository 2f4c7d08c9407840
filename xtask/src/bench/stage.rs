//! What the subjects are run in: a view of the machine in which every peer agrees to work, and a cgroup of our own.
//!
//! crun refuses hosts with both versions of cgroups, so the measuring thread has a private mount namespace in which
//! cgroup2 lies over /sys/fs/cgroup, as on a host with version 2 only. An empty /run there takes what runtimes leave
//! behind. The bench's processes are in a cgroup of their own, because nspawn makes groups below its caller's.

use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

const CGROUP: &str = "/sys/fs/cgroup";

/// Gives the calling thread, and what it starts, that view. Other threads keep theirs.
pub(crate) fn enter_private_view() -> Result<()> {
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)
        .context("cannot make mounts private")?;
    // On a host with version 2 only it is there already, and the kernel refuses the same mount twice in one place.
    if cgroup2_mount().is_none_or(|there| there != Path::new(CGROUP)) {
        mount(Some("cgroup2"), CGROUP, Some("cgroup2"), MsFlags::empty(), none)
            .with_context(|| format!("cannot mount cgroup2 over {CGROUP}"))?;
    }
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).context("cannot mount over /run")
}

/// A cgroup that this process has moved into; it moves back and removes the group when this is dropped.
pub(crate) struct Group {
    path: PathBuf,
    /// Its path below the root of its hierarchy.
    name: PathBuf,
    before: PathBuf,
}

impl Group {
    pub(crate) fn enter() -> Result<Self> {
        let mount = cgroup2_mount().context("cgroup2 is not mounted on this machine")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .context("no cgroup2 in /proc/self/cgroup")?;
        let before = mount.join(own);
        let name = Path::new(own).join(format!("xtask-bench-{}", process::id()));
        let path = mount.join(&name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let group = Self { path, name, before };
        move_to(&group.path)?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let removed = move_to(&self.before).and_then(|()| {
            // nspawn mirrors the group it finds itself in into systemd's hierarchy of version 1.
            let mirrored = cgroup_mounts("cgroup").into_iter().map(|mount| mount.join(&self.name));
            mirrored
                .filter(|group| group.is_dir())
                .chain([self.path.clone()])
                .try_for_each(|group| remove(&group))
        });
        if let Err(error) = removed {
            eprintln!("warning: {error:#}");
        }
    }
}

fn move_to(group: &Path) -> Result<()> {
    fs::write(group.join("cgroup.procs"), process::id().to_string())
        .with_context(|| format!("cannot move into {}", group.display()))
}

/// Removes a group and those below it. A process that has just ended may hold one for a moment.
fn remove(group: &Path) -> Result<()> {
    for entry in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path())?;
    }
    const ATTEMPTS: u32 = 100;
    for _ in 1..ATTEMPTS {
        if fs::remove_dir(group).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    fs::remove_dir(group).with_context(|| format!("cannot remove {}", group.display()))
}

/// Where cgroup2 is mounted: /sys/fs/cgroup, or below it on a host with both versions.
fn cgroup2_mount() -> Option<PathBuf> {
    cgroup_mounts("cgroup2").into_iter().next()
}

/// Where hierarchies of this kind, `cgroup` or `cgroup2`, are mounted for the calling thread.
fn cgroup_mounts(kind: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let target = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let of_kind = source.split(' ').next() == Some(kind);
        of_kind.then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    };
    mounts.lines().filter_map(target).collect()
}
