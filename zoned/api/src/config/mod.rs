//! A zone's configuration: the YAML an administrator writes.
//!
//! `parse` refuses unknown keys, wrong types and impossible values with line and column; `check` then looks at
//! what only the whole can tell; `set` changes single keys of a text. None of them looks at the host.

mod check;
mod cpu_set;
mod global;
mod limits;
mod net;
mod online;
mod parse;
mod set;
mod size;
mod wording;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::ZoneName;
pub use net::{
    Allow, Forward, MAX_INTERFACES, Mac, Net, NetAddress, NetMode, Peer, Port, Protocol, Resolver,
    is_interface_name,
};

pub use cpu_set::CpuSet;
pub use global::{GLOBAL, global_shares};
pub use limits::{Cpu, DEFAULT_SHARES, DEFAULT_WEIGHT, Io, Limits, Memory, Tasks};
pub use online::{DEFAULT_TIMEOUT, Online};
pub use size::{Scalar, Size};

/// Largest configuration text accepted, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;

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
    #[schemars(extend("examples" = [["db"]]))]
    pub after: Vec<ZoneName>,
    /// When it counts as online: what `boot --wait` waits for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub online: Online,
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
    /// Interfaces beside `lo`; none if the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<Net>,
    /// Who tells the zone the addresses of names; the host's servers if none are given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resolver: Resolver,
    /// Privileges (capabilities, lower case without `cap_`) the zone's root is bounded by: `default` is the
    /// brand's set, a name adds, `!name` takes away.
    #[serde(default = "default_limitpriv", skip_serializing_if = "is_default_limitpriv")]
    #[schemars(extend("examples" = [["default", "!net_raw"]]))]
    pub limitpriv: Vec<String>,
    /// What it may take of the CPUs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu: Cpu,
    /// What it may take of the memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: Memory,
    /// How many processes and threads it may have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tasks: Tasks,
    /// What it may take of the disks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub io: Io,
    /// What runs in the zone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub process: Process,
}

/// Where the root file system comes from. Exactly one of the two is given; `{ sparse: true }` if none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "sparse": true }, { "image": "debian:bookworm" }]))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Root {
    /// The host's `/usr`, read-only and shared, with an `/etc` and `/var` of the zone's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sparse: bool,
    /// An image, unpacked once and shared: `debian:SUITE`, `tar:FILE` or `dir:PATH` (absolute paths on the host).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Most the zone may write, in bytes or with K, M, G or T behind the number; what the host's disk has if none.
    /// Given before the install, it can grow later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Size>,
    /// Most files, folders and links the zone may make; as fits the quota if none. Given before the install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
}

impl Default for Root {
    fn default() -> Self {
        Root { sparse: true, image: None, quota: None, inodes: None }
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
#[schemars(extend("examples" = [{ "source": "/srv/www", "target": "/var/www", "options": ["ro"] }]))]
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
#[schemars(extend("examples" = [{ "match": "/dev/fuse" }]))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Device {
    /// Path of the node under `/dev`, the same on the host and in the zone.
    #[serde(rename = "match")]
    pub path: String,
}

/// What runs in the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "command": ["/usr/bin/sleep", "60"] }]))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Process {
    /// First process: an absolute path inside the zone, or `none` for the built-in init, which runs
    /// `command` (or waits) and reaps. If not given: `none` for a sparse root or where there is a `command`,
    /// else the brand's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Arguments of `init`, or with the built-in init the command it runs; the zone halts when that ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["/usr/bin/sleep", "60"]]))]
    pub command: Vec<String>,
    /// Environment added to the brand's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{ "LANG": "C.UTF-8" }]))]
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
    /// JSON Schema of the configuration.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(ZoneConfig)
    }

    /// Whether the zone's first process is the built-in init.
    pub fn has_builtin_init(&self) -> bool {
        match self.process.init.as_deref() {
            Some(path) => path == "none",
            None => self.root.sparse || !self.process.command.is_empty(),
        }
    }
}
