//! Hosts whose resource controllers are in cgroup v1 hierarchies, beside a cgroup2 tree (hybrid).
//!
//! A zone gets a folder of its own in every mounted hierarchy, named ones too: in one where it has none, its root
//! could mount the hierarchy and read the host's figures. The folders stay the host's root's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{CgroupError, Controllers, make};
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
    /// From the mounts of type `cgroup`; none if there are none.
    pub(super) fn new<'a>(mounts: impl Iterator<Item = &'a Mount>, name: &str) -> Option<Self> {
        let mut seen = Vec::new();
        let mut hierarchies = Vec::new();
        for mount in mounts.filter(|m| !m.options.is_empty()) {
            // The same hierarchy mounted twice has one device number.
            if !seen.contains(&mount.dev) {
                seen.push(mount.dev);
                hierarchies
                    .push(Hierarchy { mount: mount.target.clone(), controllers: mount.options.clone() });
            }
        }
        (!hierarchies.is_empty()).then(|| Self { name: name.to_owned(), hierarchies })
    }

    fn folder(&self, controller: &str, tag: &str) -> Option<PathBuf> {
        let hierarchy = self.hierarchies.iter().find(|h| h.has(controller))?;
        Some(hierarchy.mount.join(&self.name).join(tag))
    }
}

impl Controllers for Legacy {
    fn prepare(&self) -> Result<(), CgroupError> {
        self.hierarchies.iter().try_for_each(|h| group(h, &h.mount, &self.name).map(drop))
    }

    fn create(&self, tag: &str) -> Result<Vec<PathBuf>, CgroupError> {
        self.hierarchies.iter().map(|h| group(h, &h.mount.join(&self.name), tag)).collect()
    }

    fn folders(&self, tag: &str) -> Vec<PathBuf> {
        self.parents().into_iter().map(|parent| parent.join(tag)).collect()
    }

    fn parents(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| h.mount.join(&self.name)).collect()
    }

    fn usage_ns(&self, tag: &str) -> Option<u64> {
        fs::read_to_string(self.folder("cpuacct", tag)?.join("cpuacct.usage")).ok()?.trim().parse().ok()
    }

    fn tasks(&self, tag: &str) -> Option<u64> {
        fs::read_to_string(self.folder("pids", tag)?.join("pids.current")).ok()?.trim().parse().ok()
    }

    fn describe(&self) -> String {
        let shown = |h: &Hierarchy| {
            let known = h.controllers.iter().filter(|c| !["rw", "ro", "none", "xattr"].contains(&c.as_str()));
            known.cloned().collect::<Vec<_>>().join("+")
        };
        let list: Vec<_> = self.hierarchies.iter().map(shown).collect();
        format!("cgroup v1 hierarchies beside cgroup2: {}", list.join(", "))
    }
}

/// Makes a group in a hierarchy. A new cpuset has neither CPUs nor memory nodes and takes no task until it is
/// given some (cpuset(7)): it gets its parent's.
fn group(hierarchy: &Hierarchy, parent: &Path, name: &str) -> Result<PathBuf, CgroupError> {
    let folder = parent.join(name);
    make(&folder)?;
    if hierarchy.has("cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (parent.join(file), folder.join(file));
            let value = fs::read_to_string(&from).map_err(CgroupError::io(&from, "read"))?;
            fs::write(&to, value.trim()).map_err(CgroupError::io(&to, "set"))?;
        }
    }
    Ok(folder)
}
