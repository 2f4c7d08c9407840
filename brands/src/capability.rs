//! Capabilities: names, numbers, sets, and how a zone's `limitpriv` is resolved against its brand.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Profile;

/// Names by number, capabilities(7); the last one came with Linux 5.9.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// One capability, written in lower case without `cap_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(u8);

impl Capability {
    /// The number the kernel knows it by, 0 to 40.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// All there are, in order of number.
    pub fn all() -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability)
    }
}

impl FromStr for Capability {
    type Err = PrivilegeError;

    fn from_str(name: &str) -> Result<Self, PrivilegeError> {
        Capability::all()
            .find(|c| c.name() == name)
            .ok_or_else(|| PrivilegeError::Unknown { name: name.to_owned() })
    }
}

impl TryFrom<String> for Capability {
    type Error = PrivilegeError;

    fn try_from(name: String) -> Result<Self, PrivilegeError> {
        name.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> String {
        capability.name().to_owned()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl JsonSchema for Capability {
    fn schema_name() -> Cow<'static, str> {
        "Capability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": NAMES.as_slice() })
    }
}

/// Capabilities that share a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CapabilityRule {
    /// Which.
    pub names: Vec<Capability>,
    /// Reason.
    pub why: String,
}

/// A set of capabilities, one bit a number, as capset(2) takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapSet(u64);

impl CapSet {
    /// None.
    pub const EMPTY: CapSet = CapSet(0);

    /// The bits: bit n is capability n.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether the set has it.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// With one more.
    pub fn with(self, capability: Capability) -> CapSet {
        CapSet(self.0 | 1 << capability.0)
    }

    /// With all of another set.
    pub fn union(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }

    /// Without those of another set.
    pub fn minus(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }

    /// Its members, in order of number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::all().filter(move |c| self.contains(*c))
    }

    pub(crate) fn of_rules(rules: &[CapabilityRule]) -> CapSet {
        rules.iter().flat_map(|rule| &rule.names).copied().collect()
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(members: I) -> CapSet {
        members.into_iter().fold(CapSet::EMPTY, CapSet::with)
    }
}

/// Why a `limitpriv` is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivilegeError {
    /// No such privilege.
    #[error(
        "privilege {name:?}: no such capability; write a name of capabilities(7) in lower case without cap_, like net_raw"
    )]
    Unknown {
        /// What was written.
        name: String,
    },
    /// A required one was taken away.
    #[error(
        "privilege {capability}: brand {brand} cannot do without it: {why}; take !{capability} (or whatever left it out) back"
    )]
    Required {
        /// The privilege.
        capability: Capability,
        /// The brand.
        brand: String,
        /// The profile's reason.
        why: String,
    },
    /// A prohibited one was added.
    #[error("privilege {capability}: brand {brand} never grants it: {why}; take it out of limitpriv")]
    Prohibited {
        /// The privilege.
        capability: Capability,
        /// The brand.
        brand: String,
        /// The profile's reason.
        why: String,
    },
}

/// The set that bounds a zone's root: the entries of `limitpriv` in order, where `default` stands for the
/// brand's default set, a name adds, and `!name` takes away (privileges(7) of Solaris).
pub fn resolve(profile: &Profile, limitpriv: &[String]) -> Result<CapSet, PrivilegeError> {
    let rules = &profile.capabilities;
    let mut set = CapSet::EMPTY;
    for entry in limitpriv {
        if entry == "default" {
            set = set.union(rules.default_set());
        } else if let Some(name) = entry.strip_prefix('!') {
            set = set.minus([name.parse()?].into_iter().collect());
        } else {
            set = set.with(add(profile, entry)?);
        }
    }
    match rules.required_set().minus(set).iter().next() {
        Some(capability) => {
            let why = reason(&rules.required, capability);
            Err(PrivilegeError::Required { capability, brand: profile.name.clone(), why })
        }
        None => Ok(set),
    }
}

fn add(profile: &Profile, name: &str) -> Result<Capability, PrivilegeError> {
    let capability: Capability = name.parse()?;
    let rules = &profile.capabilities;
    if rules.prohibited_set().contains(capability) {
        let why = reason(&rules.prohibited, capability);
        return Err(PrivilegeError::Prohibited { capability, brand: profile.name.clone(), why });
    }
    Ok(capability)
}

fn reason(rules: &[CapabilityRule], capability: Capability) -> String {
    rules.iter().find(|r| r.names.contains(&capability)).map(|r| r.why.clone()).unwrap_or_default()
}
