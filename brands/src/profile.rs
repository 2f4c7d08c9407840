//! What a brand says of its userland: the resolved profile, every rule with its reason.
//!
//! These are the types the zone's plan is made from. The YAML an administrator writes has the same keys
//! ([`source`] has its form and how one profile inherits another). Nothing here looks at a host or a root.

pub(crate) mod check;
pub mod source;
pub mod value;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CapSet, capability::CapabilityRule, detect::InitKind};
pub use value::{Errno, Limit, Resource, Signal};

/// A brand, with everything it inherits already merged in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Profile {
    /// Name, as in `brand:` of a zone's configuration.
    pub name: String,
    /// One line for `zonectl brand list`.
    pub about: String,
    /// The profiles it inherits from, nearest first; empty if none.
    pub lineage: Vec<String>,
    /// First process of a zone whose root is an image. Sparse zones run the built-in init instead.
    pub init: Init,
    /// How the first process is asked to stop.
    pub stop: Stop,
    /// Environment of the first process.
    pub env: BTreeMap<String, EnvVar>,
    /// Resource limits of the first process. The host's own hard limits may be lower; then those hold.
    pub rlimits: BTreeMap<Resource, Rlimit>,
    /// Execution domain.
    pub personality: Personality,
    /// Whether set-uid programs and file capabilities lose their effect.
    pub no_new_privs: NoNewPrivs,
    /// Privileges.
    pub capabilities: Capabilities,
    /// Mounts in the order in which the zone's first process makes them, inside its own namespaces.
    pub mounts: Vec<Mount>,
    /// Device nodes of the host shown under `/dev`.
    pub devices: Vec<DeviceRule>,
    /// Symbolic links made before the first process runs, each below `/dev` or a tmpfs of `mounts`: nothing is
    /// ever put into the zone's own files, so nothing has to be taken out again.
    pub links: Vec<Link>,
    /// Paths of `/proc` and `/sys` that are covered or made read-only.
    pub masks: Vec<Mask>,
    /// Rules of the system-call filter.
    pub syscalls: Syscalls,
}

/// First process of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Init {
    /// Absolute path inside the zone.
    pub path: String,
    /// Arguments after the program's own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Reason.
    pub why: String,
}

/// How the first process is asked to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stop {
    /// Seconds it is given before the zone is halted.
    pub timeout: u32,
    /// Reason of the time.
    pub why: String,
    /// The signal by kind of init; `unknown` holds for the ones that are not named.
    pub signals: BTreeMap<InitKind, StopSignal>,
}

/// Signal that asks one kind of init to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StopSignal {
    /// The signal.
    pub signal: Signal,
    /// Reason.
    pub why: String,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnvVar {
    /// Value.
    pub value: String,
    /// Reason.
    pub why: String,
}

/// A resource limit, getrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rlimit {
    /// Soft limit, in the unit getrlimit(2) gives for the resource.
    pub soft: Limit,
    /// Hard limit.
    pub hard: Limit,
    /// Reason.
    pub why: String,
}

/// Execution domain, personality(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Personality {
    /// Argument of personality(2); 0 is plain Linux.
    pub value: u32,
    /// Reason.
    pub why: String,
}

/// `PR_SET_NO_NEW_PRIVS`, prctl(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NoNewPrivs {
    /// Whether it is set.
    pub set: bool,
    /// Reason.
    pub why: String,
}

/// The three sets of Solaris' `limitpriv`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Capabilities {
    /// What `limitpriv: [default]` stands for.
    #[serde(default)]
    pub default: Vec<CapabilityRule>,
    /// Without these the userland does not work: they cannot be taken away.
    #[serde(default)]
    pub required: Vec<CapabilityRule>,
    /// These would be an escape, or the kernel never honours them in a user namespace: they cannot be added.
    #[serde(default)]
    pub prohibited: Vec<CapabilityRule>,
}

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

/// Rules of the system-call filter. What is not named here is allowed if [`crate::syscall`] knows it and
/// answered `ENOSYS` if not: a userland asks for new calls and falls back, which `EPERM` would prevent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Syscalls {
    /// Calls that are refused.
    #[serde(default)]
    pub deny: Vec<SyscallRule>,
    /// Calls taken off the refusals that are inherited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowRule>,
}

/// Refusal of system calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SyscallRule {
    /// Names of calls, as in the kernel's tables.
    pub names: Vec<String>,
    /// What the caller is answered.
    pub errno: Errno,
    /// Only when all of these hold; always if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<ArgRule>,
    /// Not for zones that hold this privilege.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<crate::Capability>,
    /// Reason.
    pub why: String,
}

/// Calls that are allowed although an inherited rule refuses them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AllowRule {
    /// Names of calls.
    pub names: Vec<String>,
    /// Reason.
    pub why: String,
}

/// A condition on the low 32 bits of an argument. The kernel takes all arguments that are worth a rule as
/// (unsigned) int, so whatever a 64-bit caller leaves in the upper half must not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArgRule {
    /// Place of the argument, 0 to 5.
    pub index: u8,
    /// Bits that are looked at; all if not given.
    #[serde(default = "all_bits", skip_serializing_if = "is_all_bits")]
    pub mask: u32,
    /// The argument is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub is: Vec<u32>,
    /// The argument is none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub is_not: Vec<u32>,
}

fn all_bits() -> u32 {
    u32::MAX
}

fn is_all_bits(mask: &u32) -> bool {
    *mask == u32::MAX
}

impl ArgRule {
    /// Values one condition can list: a jump of the filter reaches over 255 instructions.
    pub const MAX_VALUES: usize = 32;
}

impl Stop {
    /// The signal that asks an init of this kind to stop, if the profile has one.
    pub fn signal_for(&self, init: InitKind) -> Option<Signal> {
        self.signals.get(&init).or_else(|| self.signals.get(&InitKind::Unknown)).map(|s| s.signal)
    }
}

impl Capabilities {
    /// What `default` stands for: the default and the required set without what is prohibited.
    pub fn default_set(&self) -> CapSet {
        CapSet::of_rules(&self.default).union(self.required_set()).minus(self.prohibited_set())
    }

    /// What cannot be taken away.
    pub fn required_set(&self) -> CapSet {
        CapSet::of_rules(&self.required)
    }

    /// What cannot be added.
    pub fn prohibited_set(&self) -> CapSet {
        CapSet::of_rules(&self.prohibited)
    }
}
