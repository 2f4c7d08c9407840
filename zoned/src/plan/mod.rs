//! The plan of one boot of one zone: everything that is to be mounted, mapped, dropped, filtered and run, as
//! data.
//!
//! [`build`] makes it from configuration, brand and identity without looking at or changing the system;
//! `zone-monitor` carries it out and decides nothing. The plan is kept in the zone's run folder for as long as
//! the boot lives: tear-down is derived from it.

pub mod build;
pub mod network;
pub mod online;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zoned_api::ZoneName;

/// Version of the plan's form. A monitor refuses another one.
pub const VERSION: u32 = 1;

/// Number of user and group ids of a zone.
pub const IDS: u32 = 65_536;

/// First id given to a zone.
pub const FIRST_ID: u32 = 536_870_912;

/// The host ids of a zone: `base..base + count`, seen inside as `0..count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// Host id of the zone's root.
    pub base: u32,
    /// How many.
    pub count: u32,
}

/// One boot of one zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// Who.
    pub zone: Identity,
    /// User and group ids.
    pub ids: IdRange,
    /// Groups to be in.
    pub cgroups: Cgroups,
    /// The root file system.
    pub root: RootPlan,
    /// What is made in the helper mount namespace, before the zone's own exists: the host's share.
    pub provided: Vec<Provided>,
    /// What the zone mounts itself, from inside its namespaces, in order.
    pub mounts: Vec<Mount>,
    /// Links made after the mounts, in order.
    pub links: Vec<Link>,
    /// Paths covered or made read-only, after the mounts.
    pub masks: Vec<Mask>,
    /// What runs and how it is confined.
    pub process: ProcessPlan,
    /// Console.
    pub console: ConsolePlan,
    /// Network.
    #[serde(default)]
    pub network: network::NetworkPlan,
    /// When it counts as online.
    #[serde(default)]
    pub online: online::OnlinePlan,
}

impl Plan {
    /// That of the boot in a run folder, if it can be read.
    pub fn load(run: &RunFolder) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run.plan()).ok()?).ok()
    }

    /// Whether the zone's program is heard by sd_notify(3).
    pub fn is_notified(&self) -> bool {
        self.online.by == online::By::Notify
    }

    /// Environment of the zone's program; what `exec` runs has not got the socket of sd_notify(3).
    pub fn program_env(&self) -> BTreeMap<String, String> {
        let socket = ("NOTIFY_SOCKET".to_owned(), online::NOTIFY_SOCKET.to_owned());
        let own = self.process.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        own.chain(self.is_notified().then_some(socket)).collect()
    }
}

/// Which zone and which boot of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name, for messages only.
    pub name: ZoneName,
    /// Identity.
    pub uuid: Uuid,
    /// Number of this boot, from 1.
    pub boot: u64,
    /// Host name inside.
    pub hostname: String,
}

impl Identity {
    /// `<uuid>.<boot>`: how cgroups, pins and mounts of this boot are named.
    pub fn tag(&self) -> String {
        format!("{}.{}", self.uuid, self.boot)
    }
}

/// The groups a zone's processes are in. All are made and removed by the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// The zone's folder in the cgroup2 tree; the host's. Limits and identity are here.
    pub zone: PathBuf,
    /// `payload/` in it: delegated, the root of the zone's cgroup namespace.
    pub payload: PathBuf,
    /// `exec/` in it: where `exec` puts its commands (the payload may have controllers enabled).
    pub exec: PathBuf,
    /// On hosts with cgroup v1: the zone's folder in each mounted hierarchy.
    pub v1: Vec<PathBuf>,
}

/// What a zone writes to. Both hold `upper` and `work`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "path", rename_all = "kebab-case")]
pub enum Dataset {
    /// A folder on the host's file system.
    Folder(PathBuf),
    /// A file that holds a file system of bounded size.
    Volume(PathBuf),
}

impl Dataset {
    /// Where it is.
    pub fn path(&self) -> &Path {
        let (Self::Folder(path) | Self::Volume(path)) = self;
        path
    }
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootPlan {
    /// Read-only layers, top first.
    pub lowers: Vec<PathBuf>,
    /// The dataset: what the zone writes.
    pub dataset: Dataset,
    /// Where the root is assembled, in a mount namespace of its own. An empty folder that never shows anything on the host.
    pub assembly: PathBuf,
}

/// Something of the host put into the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Provided {
    /// A folder or file, with ids shifted to the zone's.
    Tree {
        /// Absolute path on the host.
        source: PathBuf,
        /// Absolute path inside, made if missing (a folder or an empty file, as the source is).
        target: PathBuf,
        /// Mount attributes.
        flags: MountFlags,
    },
    /// A file with this text in the zone's own data, in place of one that begins with the same line or is a link.
    Text {
        /// Absolute path inside.
        target: PathBuf,
        /// What it says.
        text: String,
    },
    /// `/dev`: a small tmpfs with these device nodes of the host bound on files.
    Dev {
        /// Paths below `/dev`, the same on the host and inside.
        nodes: Vec<PathBuf>,
    },
}

/// Attributes of a mount. `nodev` is always on for what the host provides, except device nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFlags {
    /// MOUNT_ATTR_RDONLY.
    #[serde(default)]
    pub ro: bool,
    /// MOUNT_ATTR_NOSUID.
    #[serde(default)]
    pub nosuid: bool,
    /// MOUNT_ATTR_NODEV.
    #[serde(default)]
    pub nodev: bool,
    /// MOUNT_ATTR_NOEXEC.
    #[serde(default)]
    pub noexec: bool,
}

/// A file system the zone mounts itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// `proc`, `sysfs`, `devpts`, `mqueue`, `tmpfs`, `cgroup2`, …
    pub fstype: String,
    /// Absolute path inside, made if missing.
    pub target: PathBuf,
    /// Attributes.
    pub flags: MountFlags,
    /// Options as of fsconfig(2) FSCONFIG_SET_STRING; a flag has an empty value.
    pub options: BTreeMap<String, String>,
    /// Going on without it is right where the kernel lacks it.
    #[serde(default)]
    pub optional: bool,
}

/// A symbolic link made inside after the mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Absolute path inside; its folders are made if missing.
    pub path: PathBuf,
    /// What it points to.
    pub target: PathBuf,
}

/// A path made harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Absolute path inside; skipped if it does not exist.
    pub path: PathBuf,
    /// Read-only instead of covered by nothing.
    pub read_only: bool,
}

/// What runs and how it is confined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// The first process.
    pub init: Init,
    /// Whole environment.
    pub env: BTreeMap<String, String>,
    /// Capability bounding set of everything in the zone, as a bit mask by capability number.
    pub capabilities: u64,
    /// Resource limits: number of RLIMIT_*, soft, hard (u64::MAX = none), clamped to what the host allows.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// personality(2), if other than the host's.
    pub personality: Option<u64>,
    /// The seccomp filter: an array of `struct sock_filter` in native byte order.
    pub filter: Vec<u8>,
    /// Signal that asks `init` to stop everything.
    pub stop_signal: i32,
}

/// The first process of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Init {
    /// A program of the zone's own.
    Program {
        /// Path inside and arguments.
        argv: Vec<String>,
    },
    /// The monitor's own: runs a command, reaps, ends with it; without a command it waits for the stop signal.
    Builtin {
        /// Program and arguments; empty for none.
        argv: Vec<String>,
        /// Working directory inside.
        cwd: String,
        /// User by name or number; root if none.
        user: Option<String>,
    },
}

/// The console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsolePlan {
    /// The log; one older generation is kept beside it as `.1`.
    pub log: PathBuf,
    /// Bytes after which the log begins anew.
    pub max_bytes: u64,
}

/// Files of one zone's run folder.
#[derive(Clone, Debug)]
pub struct RunFolder(pub PathBuf);

impl RunFolder {
    /// The folder of one zone.
    pub fn of(run_dir: &Path, zone: &Uuid) -> Self {
        Self(run_dir.join("zones").join(zone.to_string()))
    }
    /// The [`Plan`].
    pub fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }
    /// The monitor's control socket.
    pub fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }
    /// The monitor's last word: [`crate::monitor::protocol::ExitRecord`].
    pub fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }
    /// Number of the device of its volume, if it has one.
    pub fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }
    /// What the daemon noted of the boot.
    pub fn run(&self) -> PathBuf {
        self.0.join("run.json")
    }
    /// Where the monitor says what it does.
    pub fn log(&self) -> PathBuf {
        self.0.join("monitor.log")
    }
    /// Empty folder on which the root is assembled in a mount namespace of its own.
    pub fn assembly(&self) -> PathBuf {
        self.0.join("root")
    }
}
