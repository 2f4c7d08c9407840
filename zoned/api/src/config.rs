//! A zone's configuration: the YAML an administrator writes.
//!
//! Parsing refuses unknown keys, wrong types and impossible values with line and column; [`ZoneConfig::check`]
//! then looks at what only the whole can tell. Neither looks at the host.

use std::{collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::{ApiError, Fault},
    name::ZoneName,
};

/// Largest configuration text accepted, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;

/// Most brackets that may be open at once. No configuration nests deeper than ten.
const MAX_OPEN: usize = 500;

/// A zone's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ZoneConfig {
    /// Name. Can be changed only while nothing of the zone runs.
    pub zone: ZoneName,
    /// Brand: the contract between the zone's userland and the host's kernel. Fixed once installed.
    #[serde(default = "default_brand")]
    pub brand: String,
    /// Boot the zone when zoned starts on a freshly started host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub autoboot: bool,
    /// Place among the zones that boot by themselves, lowest first; equal numbers in order of name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub order: u32,
    /// Zones that must have been booted before this one when booting by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ZoneName>,
    /// Host name inside; the zone's name if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Where the root file system comes from.
    #[serde(default)]
    pub root: Root,
    /// Folders and files of the host shown in the zone. Root-equivalent: whoever may set this owns the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fs: Vec<Fs>,
    /// Devices of the host the zone may use beside the brand's. Root-equivalent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<Device>,
    /// Privileges (capabilities, lower case without `cap_`) the zone's root is bounded by: `default` is the
    /// brand's set, a name adds, `!name` takes away.
    #[serde(default = "default_limitpriv", skip_serializing_if = "is_default_limitpriv")]
    pub limitpriv: Vec<String>,
    /// What runs in the zone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub process: Process,
}

/// Where the root file system comes from. Exactly one of the two is given; `{ sparse: true }` if none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Root {
    /// The host's `/usr`, read-only and shared, with an `/etc` and `/var` of the zone's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sparse: bool,
    /// An image, unpacked once and shared: `debian:SUITE`, `tar:FILE` or `dir:PATH` (absolute paths on the host).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

impl Default for Root {
    fn default() -> Self {
        Root { sparse: true, image: None }
    }
}

/// Source of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Image {
    /// `debian:SUITE`: bootstrapped from Debian's packages.
    Debian(String),
    /// `tar:FILE`: an archive, plain or compressed by gzip, xz or zstd.
    Tar(String),
    /// `dir:PATH`: a folder, copied.
    Dir(String),
}

impl TryFrom<String> for Image {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let form = "use debian:SUITE, tar:/FILE or dir:/PATH";
        let (kind, rest) = text.split_once(':').ok_or(format!("image {text:?} has no kind; {form}"))?;
        let path = |rest: &str| {
            if !rest.starts_with('/') {
                return Err(format!("image {text:?}: the path must be absolute"));
            }
            if rest.contains('\0') {
                return Err(format!("image {text:?}: a path cannot contain NUL"));
            }
            Ok(rest.to_owned())
        };
        match kind {
            "debian" => {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                if rest.is_empty() || rest.starts_with('-') || !rest.chars().all(plain) {
                    return Err(format!("image {text:?}: a Debian suite is written like bookworm"));
                }
                Ok(Image::Debian(rest.to_owned()))
            }
            "tar" => Ok(Image::Tar(path(rest)?)),
            "dir" => Ok(Image::Dir(path(rest)?)),
            _ => Err(format!("image {text:?}: unknown kind {kind:?}; {form}")),
        }
    }
}

impl From<Image> for String {
    fn from(image: Image) -> String {
        image.to_string()
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Image::Debian(suite) => write!(f, "debian:{suite}"),
            Image::Tar(path) => write!(f, "tar:{path}"),
            Image::Dir(path) => write!(f, "dir:{path}"),
        }
    }
}

/// A folder or file of the host shown in the zone, with the ids shifted to the zone's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fs {
    /// Absolute path on the host.
    pub source: String,
    /// Absolute path inside the zone.
    pub target: String,
    /// `ro`, `rw` (the default), `nosuid`, `nodev` (always on), `noexec`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<FsOption>,
}

/// Option of a shared folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FsOption {
    /// Read-only.
    Ro,
    /// Writable.
    Rw,
    /// Set-uid bits have no effect.
    Nosuid,
    /// Device nodes have no effect (always so).
    Nodev,
    /// Nothing can be executed.
    Noexec,
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Device {
    /// Path of the node under `/dev`, the same on the host and in the zone.
    #[serde(rename = "match")]
    pub path: String,
}

/// What runs in the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Process {
    /// First process: an absolute path inside the zone, or `none` for the built-in init, which runs
    /// `command` (or waits) and reaps. If not given: `none` for a sparse root or where there is a `command`,
    /// else the brand's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Arguments of `init`, or with the built-in init the command it runs; the zone halts when that ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment added to the brand's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory of the command, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// User (name or number, inside the zone) the built-in init runs the command as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

fn default_brand() -> String {
    "native".into()
}

fn default_limitpriv() -> Vec<String> {
    vec!["default".into()]
}

fn is_default_limitpriv(v: &Vec<String>) -> bool {
    *v == default_limitpriv()
}

fn is_default<T: Default + PartialEq>(v: &T) -> bool {
    *v == T::default()
}

impl ZoneConfig {
    /// Parses and checks YAML text. Errors give line and column, what is wrong and the accepted form.
    pub fn parse(yaml: &str) -> Result<Self, ApiError> {
        if yaml.len() > MAX_TEXT {
            let message =
                format!("configuration: {} bytes are too many; {MAX_TEXT} is the limit", yaml.len());
            return Err(ApiError::invalid(message, None));
        }
        bounded_depth(yaml)?;
        let config: Self = serde_yaml::from_str(yaml).map_err(|e| {
            let place = e.location().map(|l| format!("line {}, column {}: ", l.line(), l.column()));
            ApiError::Invalid(Fault {
                message: format!("configuration: {}{}", place.unwrap_or_default(), plain_message(&e)),
                hint: Some("`zonectl schema` prints every key with its form".into()),
            })
        })?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as YAML, keys with default values left out.
    pub fn to_yaml(&self) -> Result<String, ApiError> {
        serde_yaml::to_string(self).map_err(|e| ApiError::failed(format!("configuration: {e}"), None))
    }

    /// What only the whole configuration can tell. Looks at nothing outside of it.
    pub fn check(&self) -> Result<(), ApiError> {
        let bad = |key: &str, why: String, hint: &str| {
            Err(ApiError::invalid(format!("configuration: {key}: {why}"), Some(hint.to_owned())))
        };
        if self.root.sparse && self.root.image.is_some() {
            return bad("root", "sparse and image contradict each other".into(), "give one of them");
        }
        if !self.root.sparse && self.root.image.is_none() {
            return bad(
                "root",
                "no source is given".into(),
                "write { sparse: true } or { image: debian:bookworm }",
            );
        }
        if let Some(host) = &self.hostname {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            let edge = host.starts_with(['-', '.']) || host.ends_with(['-', '.']);
            if host.is_empty() || host.len() > 64 || edge || !host.chars().all(plain) {
                return bad(
                    "hostname",
                    format!("{host:?} is no host name"),
                    "use 1 to 64 of a-z 0-9 - . (hostname(7))",
                );
            }
        }
        if self.after.contains(&self.zone) {
            return bad("after", "a zone cannot wait for itself".into(), "take its own name out");
        }
        for (i, fs) in self.fs.iter().enumerate() {
            for (key, path) in [("source", &fs.source), ("target", &fs.target)] {
                if let Some(why) = path_fault(path) {
                    return bad(
                        &format!("fs[{i}].{key}"),
                        format!("{path:?} {why}"),
                        "give an absolute path",
                    );
                }
            }
            if fs.options.contains(&FsOption::Ro) && fs.options.contains(&FsOption::Rw) {
                return bad(
                    &format!("fs[{i}].options"),
                    "ro and rw contradict each other".into(),
                    "give one of them",
                );
            }
            if fs.target == "/" {
                return bad(
                    &format!("fs[{i}].target"),
                    "the root itself cannot be covered".into(),
                    "use root.image",
                );
            }
        }
        self.check_targets()?;
        for (i, device) in self.device.iter().enumerate() {
            let under = device.path.strip_prefix("/dev/").unwrap_or_default();
            if under.is_empty() || path_fault(&device.path).is_some() {
                let why = format!("{:?} is no path under /dev", device.path);
                return bad(&format!("device[{i}].match"), why, "give the node's path, like /dev/fuse");
            }
        }
        for entry in &self.limitpriv {
            let name = entry.strip_prefix('!').unwrap_or(entry);
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                return bad(
                    "limitpriv",
                    format!("{entry:?} is no privilege"),
                    "write names like net_raw or !net_raw",
                );
            }
        }
        self.check_process()
    }

    /// Each is mounted in its turn: a later one at or above an earlier one would hide it.
    fn check_targets(&self) -> Result<(), ApiError> {
        for (later, fs) in self.fs.iter().enumerate() {
            let over = Path::new(&fs.target);
            let earlier = self.fs.iter().take(later).position(|e| Path::new(&e.target).starts_with(over));
            if let Some(earlier) = earlier {
                let message = format!("configuration: fs[{later}].target: {} hides fs[{earlier}]", fs.target);
                let hint = "give each a target of its own, and a folder before what is shown inside of it";
                return Err(ApiError::invalid(message, Some(hint.into())));
            }
        }
        Ok(())
    }

    fn check_process(&self) -> Result<(), ApiError> {
        let bad = |key: &str, why: String| {
            Err(ApiError::invalid(format!("configuration: process.{key}: {why}"), None))
        };
        let builtin = self.process.init.as_deref() == Some("none");
        if let Some(init) = self.process.init.as_deref().filter(|init| *init != "none")
            && let Some(why) = path_fault(init)
        {
            return bad("init", format!("{init:?} {why}; give an absolute path or none"));
        }
        if let Some(cwd) = &self.process.cwd
            && let Some(why) = path_fault(cwd)
        {
            return bad("cwd", format!("{cwd:?} {why}; give an absolute path"));
        }
        if self.process.user.is_some() && self.process.init.is_some() && !builtin {
            return bad(
                "user",
                "an init of the zone's own starts as root; only the built-in one takes a user".into(),
            );
        }
        if self.process.command.first().is_some_and(String::is_empty) {
            return bad("command", "the program's name is empty".into());
        }
        if let Some(word) = self.process.command.iter().find(|w| w.contains('\0')) {
            return bad("command", format!("{word:?} contains NUL"));
        }
        for (name, value) in &self.process.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return bad("env", format!("{name:?} cannot be an environment variable"));
            }
        }
        Ok(())
    }

    /// Changes single keys of a configuration text: dotted path (`process.init`, `fs.0.target`) to YAML value;
    /// an empty value takes the key away. Returns the new text, parsed and checked.
    pub fn set(yaml: &str, values: &BTreeMap<String, String>) -> Result<String, ApiError> {
        let broken = |e: serde_yaml::Error| ApiError::failed(format!("configuration: {e}"), None);
        let mut tree: serde_yaml::Value = serde_yaml::from_str(yaml).map_err(broken)?;
        for (path, text) in values {
            bounded_depth(text)?;
            let value = if text.is_empty() {
                None
            } else {
                let parsed = serde_yaml::from_str(text);
                Some(parsed.map_err(|e| {
                    ApiError::invalid(format!("{path}: the value {text:?} is no YAML: {e}"), None)
                })?)
            };
            put(&mut tree, path, value)?;
        }
        let text = serde_yaml::to_string(&tree).map_err(broken)?;
        Self::parse(&text)?;
        Ok(text)
    }

    /// JSON Schema of the configuration.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(ZoneConfig)
    }
}

/// Refuses brackets in brackets in brackets: the parser takes time by the square of their depth, minutes for what
/// fits into [`MAX_TEXT`]. Quoted ones count too, which is why so many are allowed.
fn bounded_depth(yaml: &str) -> Result<(), ApiError> {
    let mut open = 0_usize;
    for byte in yaml.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_OPEN {
            let message = format!("configuration: more than {MAX_OPEN} brackets are open at once");
            return Err(ApiError::invalid(message, None));
        }
    }
    Ok(())
}

/// serde's message without the place, which is told apart from it.
fn plain_message(e: &serde_yaml::Error) -> String {
    let text = e.to_string();
    text.find(" at line ").map_or(text.clone(), |at| text[..at].to_owned())
}

/// What is wrong with an absolute path, if anything.
fn path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("is not absolute")
    } else if path.contains('\0') {
        Some("contains NUL")
    } else if path.len() > 4095 {
        Some("is longer than 4095 bytes")
    } else if path.split('/').any(|part| part == "..") {
        Some("contains ..")
    } else {
        None
    }
}

fn put(tree: &mut serde_yaml::Value, path: &str, value: Option<serde_yaml::Value>) -> Result<(), ApiError> {
    use serde_yaml::Value;
    let wrong = |why: &str| {
        ApiError::invalid(
            format!("{path}: {why}"),
            Some("write paths like process.init or fs.0.target".into()),
        )
    };
    let mut node = tree;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(wrong("a part of the path is empty"));
        }
        let last = parts.peek().is_none();
        if let Value::Sequence(list) = node {
            let at: usize = part.parse().map_err(|_| wrong("a list is indexed by number"))?;
            if last && value.is_none() && at < list.len() {
                list.remove(at);
                return Ok(());
            }
            if at == list.len() && value.is_some() {
                list.push(Value::Null);
            }
            node = list.get_mut(at).ok_or_else(|| wrong("the list is not that long"))?;
        } else {
            if node.is_null() {
                *node = Value::Mapping(Default::default());
            }
            let map =
                node.as_mapping_mut().ok_or_else(|| wrong("a part of the path has no keys below it"))?;
            let key = Value::String(part.to_owned());
            if value.is_none() && (last || !map.contains_key(&key)) {
                map.remove(&key);
                return Ok(());
            }
            node = map.entry(key).or_insert(Value::Null);
        }
    }
    if let Some(value) = value {
        *node = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(yaml: &str) -> String {
        match ZoneConfig::parse(yaml) {
            Err(ApiError::Invalid(f)) => f.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_least_configuration_is_a_sparse_native_zone() {
        let c = ZoneConfig::parse("zone: a").unwrap();
        assert!(c.root.sparse && c.brand == "native" && c.limitpriv == ["default"]);
        assert_eq!(ZoneConfig::parse(&c.to_yaml().unwrap()).unwrap(), c);
    }

    #[test]
    fn faults_name_the_place() {
        assert!(
            fault("zone: a\nautobot: true").contains("line 2, column 1"),
            "{}",
            fault("zone: a\nautobot: true")
        );
        assert!(fault("zone: a\nautobot: true").contains("unknown field `autobot`"));
        assert!(fault("zone: a\nautoboot: 7").contains("line 2"));
        assert!(fault("zone: ../x").contains("begins with a letter or digit"));
        assert!(fault("zone: a\nroot: { sparse: true, image: debian:bookworm }").contains("contradict"));
        assert!(fault("zone: a\nfs: [{ source: /a, target: /b/../c }]").contains("fs[0].target"));
    }

    #[test]
    fn a_target_that_hides_another_is_refused() {
        let of = |a: &str, b: &str| {
            format!("zone: a\nfs: [{{ source: /a, target: {a} }}, {{ source: /b, target: {b} }}]")
        };
        assert!(fault(&of("/srv", "/srv")).contains("fs[1].target: /srv hides fs[0]"));
        assert!(fault(&of("/srv/x", "/srv/")).contains("hides fs[0]"));
        assert!(ZoneConfig::parse(&of("/srv", "/srv/x")).is_ok());
        assert!(ZoneConfig::parse(&of("/srv", "/srv2")).is_ok());
    }

    #[test]
    fn depth_is_bounded_before_the_parser_sees_it() {
        let deep = |n: usize| format!("zone: a\nprocess: {{ command: ['{}'] }}", "[".repeat(n));
        assert!(ZoneConfig::parse(&deep(MAX_OPEN - 2)).is_ok());
        assert!(fault(&deep(MAX_OPEN)).contains("brackets"));
        assert!(ZoneConfig::set("zone: a", &[("fs".into(), "[".repeat(1000))].into()).is_err());
    }

    #[test]
    fn set_changes_one_key_and_keeps_the_rest() {
        let set = |path: &str, value: &str| {
            ZoneConfig::set("zone: a\norder: 3\n", &[(path.into(), value.into())].into())
        };
        let c = ZoneConfig::parse(&set("process.init", "none").unwrap()).unwrap();
        assert_eq!((c.process.init.as_deref(), c.order), (Some("none"), 3));
        assert_eq!(ZoneConfig::parse(&set("order", "").unwrap()).unwrap().order, 0);
        assert!(set("order.x", "1").is_err() && set("order", "many").is_err() && set("zone", "").is_err());
        assert!(set("fs.0", "{ source: /a, target: /b }").is_err(), "fs is no list yet");
        assert!(set("fs", "[{ source: /a, target: /b }]").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = ZoneConfig::parse(&text);
            let _ = ZoneConfig::set("zone: a", &[(text.clone(), text)].into());
        }
    }
}
