//! What a zone's file tree has beside its root: mounts, device nodes, links, covered paths.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mount the zone's first process makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mount {
    /// Absolute path inside the zone; made if it is not there and lies on a tmpfs.
    pub target: String,
    /// File system.
    pub kind: MountKind,
    /// Flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<MountFlag>,
    /// Options of the file system, as in the fourth field of fstab(5): name to value, empty value for a flag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Whether the zone boots without it where the kernel lacks the file system.
    #[serde(default)]
    pub optional: bool,
    /// Reason.
    pub why: String,
}

/// File system of a [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// proc(5) of the zone's pid namespace.
    Proc,
    /// sysfs(5) of the zone's network namespace.
    Sysfs,
    /// A devpts of the zone's own.
    Devpts,
    /// POSIX message queues of the zone's ipc namespace, mq_overview(7).
    Mqueue,
    /// tmpfs(5).
    Tmpfs,
    /// The unified cgroup hierarchy, from the zone's cgroup namespace down.
    Cgroup2,
}

impl MountKind {
    /// Name of the file system as the kernel knows it (`/proc/filesystems`).
    pub fn fs_name(self) -> &'static str {
        match self {
            MountKind::Proc => "proc",
            MountKind::Sysfs => "sysfs",
            MountKind::Devpts => "devpts",
            MountKind::Mqueue => "mqueue",
            MountKind::Tmpfs => "tmpfs",
            MountKind::Cgroup2 => "cgroup2",
        }
    }
}

/// Flag of a [`Mount`], mount(8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MountFlag {
    /// Set-uid bits have no effect.
    Nosuid,
    /// Device nodes have no effect.
    Nodev,
    /// Nothing can be executed.
    Noexec,
    /// Read-only.
    Ro,
}

/// Device nodes of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceRule {
    /// Paths below `/dev`, the same on the host and in the zone.
    pub paths: Vec<String>,
    /// Reason.
    pub why: String,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// Absolute path of the link inside the zone.
    pub path: String,
    /// What it points to.
    pub target: String,
    /// Reason.
    pub why: String,
}

/// A covered path of `/proc` or `/sys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mask {
    /// Absolute path inside the zone; one that does not exist is left out.
    pub path: String,
    /// How it is covered.
    pub how: MaskKind,
    /// Reason.
    pub why: String,
}

/// How a path is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// A file reads as empty, a folder shows nothing.
    Hide,
    /// It can be read, not written.
    ReadOnly,
}
