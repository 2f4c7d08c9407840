//! Hosts whose resource controllers are in cgroup v1 hierarchies, beside a cgroup2 tree (hybrid).
//!
//! A zone gets a folder of its own in every mounted hierarchy, named ones too: in one where it has none, its root
//! could mount the hierarchy and read the host's figures. The folders stay the host's root's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{CgroupError, make};
use crate::mountinfo::Mount;

/// One mounted hierarchy; several controllers may share it.
#[derive(Debug)]
struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<String>,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// The mounted cgroup v1 hierarchies.
#[derive(Debug)]
pub(super) struct Legacy {
    name: String,
    hierarchies: Vec<Hierarchy>,
}

impl Legacy {
    /// From the mounts of type `cgroup`, if any.
    pub(super) fn new<'a>(mounts: impl Iterator<Item = &'a Mount>, name: &str) -> Self {
        let mut seen = Vec::new();
        let mut hierarchies = Vec::new();
        for mount in mounts {
            // The same hierarchy mounted twice has one device number.
            if !seen.contains(&mount.dev) {
                seen.push(mount.dev);
                hierarchies
                    .push(Hierarchy { mount: mount.target.clone(), controllers: mount.options.clone() });
            }
        }
        Self { name: name.to_owned(), hierarchies }
    }

    /// Whether a controller is in one of them.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.hierarchies.iter().any(|h| h.has(controller))
    }

    /// Folder of a boot where a controller is; of all zones for an empty tag.
    pub(super) fn folder(&self, controller: &str, tag: &str) -> Option<PathBuf> {
        let hierarchy = self.hierarchies.iter().find(|h| h.has(controller))?;
        Some(hierarchy.mount.join(&self.name).join(tag))
    }

    /// Makes the parent folder of all zones in each hierarchy.
    pub(super) fn prepare(&self) -> Result<(), CgroupError> {
        self.hierarchies.iter().try_for_each(|h| group(h, &h.mount, &self.name).map(drop))
    }

    /// Makes the folders of one boot, and their parents where a hierarchy has none yet. Returns them.
    pub(super) fn create(&self, tag: &str) -> Result<Vec<PathBuf>, CgroupError> {
        let both = |h: &Hierarchy| group(h, &group(h, &h.mount, &self.name)?, tag);
        self.hierarchies.iter().map(both).collect()
    }

    /// Parent folders, whether they are there or not.
    pub(super) fn parents(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| h.mount.join(&self.name)).collect()
    }

    /// CPU time the boot has taken, nanoseconds, where a hierarchy counts it.
    pub(super) fn usage_ns(&self, tag: &str) -> Option<u64> {
        fs::read_to_string(self.folder("cpuacct", tag)?.join("cpuacct.usage")).ok()?.trim().parse().ok()
    }

    /// Tasks the boot has, where a hierarchy counts them.
    pub(super) fn tasks(&self, tag: &str) -> Option<u64> {
        fs::read_to_string(self.folder("pids", tag)?.join("pids.current")).ok()?.trim().parse().ok()
    }

    /// For `doctor`: which there are, if any.
    pub(super) fn describe(&self) -> Option<String> {
        let shown = |h: &Hierarchy| {
            let known = h.controllers.iter().filter(|c| !["rw", "ro", "none", "xattr"].contains(&c.as_str()));
            known.cloned().collect::<Vec<_>>().join("+")
        };
        let list: Vec<_> = self.hierarchies.iter().map(shown).collect();
        (!list.is_empty()).then(|| format!("cgroup v1 hierarchies beside cgroup2: {}", list.join(", ")))
    }
}

/// Makes a group in a hierarchy. A new cpuset has neither CPUs nor memory nodes and takes no task until it is
/// given some (cpuset(7)): it gets its parent's. What somebody gave it already stays.
fn group(hierarchy: &Hierarchy, parent: &Path, name: &str) -> Result<PathBuf, CgroupError> {
    let folder = parent.join(name);
    make(&folder)?;
    if hierarchy.has("cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (parent.join(file), folder.join(file));
            let read = |path: &Path| fs::read_to_string(path).map_err(CgroupError::io(path, "read"));
            if read(&to)?.trim().is_empty() {
                fs::write(&to, read(&from)?.trim()).map_err(CgroupError::io(&to, "set"))?;
            }
        }
    }
    Ok(folder)
}
