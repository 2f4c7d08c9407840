//! What a brand says of its userland: the resolved profile, every rule with its reason.
//!
//! These are the types the zone's plan is made from. The YAML an administrator writes has the same keys
//! ([`source`] has its form and how one profile inherits another). Nothing here looks at a host or a root.

pub(crate) mod check;
pub mod source;
pub mod syscalls;
pub mod tree;
pub mod value;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CapSet, capability::CapabilityRule, detect::InitKind};
pub use syscalls::{AllowRule, ArgRule, SyscallRule, Syscalls};
pub use tree::{DeviceRule, Link, Mask, MaskKind, Mount, MountFlag, MountKind};
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
