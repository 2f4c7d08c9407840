//! The YAML form of a profile, and how one inherits another.
//!
//! Every key may be left out of a profile that inherits: a single value of the heir replaces the ancestor's,
//! rules of lists and maps are added, and one with the same key (name, path, target) replaces the ancestor's.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// Largest profile accepted, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;

/// A profile as written in YAML.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Brand profile")]
pub struct Source {
    /// Name: that of the file without `.yaml`.
    pub name: String,
    /// One line for `zonectl brand list`.
    pub about: String,
    /// The profile whose rules hold where this one says nothing else.
    #[serde(default)]
    pub inherits: Option<String>,
    /// First process of a zone whose root is an image.
    #[serde(default)]
    pub init: Option<Init>,
    /// How the first process is asked to stop.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Environment of the first process.
    #[serde(default)]
    pub env: BTreeMap<String, EnvVar>,
    /// Resource limits of the first process.
    #[serde(default)]
    pub rlimits: BTreeMap<Resource, Rlimit>,
    /// Execution domain.
    #[serde(default)]
    pub personality: Option<Personality>,
    /// Whether set-uid programs and file capabilities lose their effect.
    #[serde(default)]
    pub no_new_privs: Option<NoNewPrivs>,
    /// Privileges.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Mounts in the order in which they are made.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Device nodes of the host shown under `/dev`.
    #[serde(default)]
    pub devices: Vec<DeviceRule>,
    /// Symbolic links below `/dev` or a tmpfs of `mounts`.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Paths of `/proc` and `/sys` that are covered or made read-only.
    #[serde(default)]
    pub masks: Vec<Mask>,
    /// Rules of the system-call filter.
    #[serde(default)]
    pub syscalls: Syscalls,
}

impl Source {
    /// Reads a profile's text. The error has line and column.
    pub fn parse(text: &str) -> Result<Source, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    /// This profile laid over the one it inherits.
    pub(crate) fn over(self, parent: Source) -> Source {
        Source {
            name: self.name,
            about: self.about,
            inherits: self.inherits,
            init: self.init.or(parent.init),
            stop: self.stop.or(parent.stop),
            env: merge(self.env, parent.env),
            rlimits: merge(self.rlimits, parent.rlimits),
            personality: self.personality.or(parent.personality),
            no_new_privs: self.no_new_privs.or(parent.no_new_privs),
            capabilities: Capabilities {
                default: append(self.capabilities.default, parent.capabilities.default),
                required: append(self.capabilities.required, parent.capabilities.required),
                prohibited: append(self.capabilities.prohibited, parent.capabilities.prohibited),
            },
            mounts: replace(self.mounts, parent.mounts, |m| &m.target),
            devices: append(self.devices, parent.devices),
            links: replace(self.links, parent.links, |l| &l.path),
            masks: replace(self.masks, parent.masks, |m| &m.path),
            syscalls: self.syscalls.over(parent.syscalls),
        }
    }

    /// The profile, once everything inherited is in; the error names the key that no ancestor has either.
    pub(crate) fn finish(self, lineage: Vec<String>) -> Result<Profile, &'static str> {
        Ok(Profile {
            name: self.name,
            about: self.about,
            lineage,
            init: self.init.ok_or("init")?,
            stop: self.stop.ok_or("stop")?,
            env: self.env,
            rlimits: self.rlimits,
            personality: self.personality.ok_or("personality")?,
            no_new_privs: self.no_new_privs.ok_or("no-new-privs")?,
            capabilities: self.capabilities,
            mounts: self.mounts,
            devices: self.devices,
            links: self.links,
            masks: self.masks,
            syscalls: self.syscalls,
        })
    }
}

impl Syscalls {
    /// The heir's refusals after the ancestor's, without the calls the heir allows.
    fn over(self, parent: Syscalls) -> Syscalls {
        let allowed = |name: &String| self.allow.iter().any(|rule| rule.names.contains(name));
        let kept = parent.deny.into_iter().filter_map(|mut rule| {
            rule.names.retain(|name| !allowed(name));
            (!rule.names.is_empty()).then_some(rule)
        });
        Syscalls { deny: kept.chain(self.deny).collect(), allow: append(self.allow, parent.allow) }
    }
}

fn merge<K: Ord, V>(heir: BTreeMap<K, V>, mut all: BTreeMap<K, V>) -> BTreeMap<K, V> {
    all.extend(heir);
    all
}

fn append<T>(heir: Vec<T>, mut all: Vec<T>) -> Vec<T> {
    all.extend(heir);
    all
}

/// The ancestor's rules, each replaced where the heir has one of the same key, then the heir's others: an
/// order that matters (mounts) is kept.
fn replace<T>(heir: Vec<T>, mut all: Vec<T>, key: impl Fn(&T) -> &String) -> Vec<T> {
    let inherited = all.len();
    for rule in heir {
        // Two of the heir's own with one key are left for the check to refuse.
        match all[..inherited].iter().position(|old| key(old) == key(&rule)) {
            Some(at) => all[at] = rule,
            None => all.push(rule),
        }
    }
    all
}
