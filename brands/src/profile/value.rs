//! Values of a profile that are written as words: signals, error numbers, resource limits.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A signal, signal(7), written like `SIGTERM` or `SIGRTMIN+3`.
#[derive(Clone, Debug, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(i32);

/// Number of the first real-time signal a program can use: the kernel's is 32, glibc keeps two.
const SIGRTMIN: i32 = 34;

/// Signals an init might take, by their number on x86 and arm.
const SIGNALS: [(&str, i32); 8] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGTERM", 15),
    ("SIGWINCH", 28),
    ("SIGPWR", 30),
];

impl Signal {
    /// The number kill(2) takes.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl TryFrom<String> for Signal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some((_, number)) = SIGNALS.iter().find(|(name, _)| *name == text) {
            return Ok(Signal(*number));
        }
        let above = text.strip_prefix("SIGRTMIN+").and_then(|n| n.parse().ok());
        above.filter(|n: &i32| (0..=30).contains(n)).map(|n| Signal(SIGRTMIN + n)).ok_or_else(|| {
            let names = SIGNALS.map(|(name, _)| name).join(", ");
            format!("{text:?} is no signal; use {names} or SIGRTMIN+0 to SIGRTMIN+30")
        })
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIGNALS.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "SIGRTMIN+{}", self.0 - SIGRTMIN),
        }
    }
}

impl JsonSchema for Signal {
    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^SIG([A-Z0-9]+|RTMIN\\+[0-9]+)$" })
    }
}

/// An error number a filter can answer, errno(3); the numbers are the same on x86 and arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Errno {
    /// Operation not permitted.
    #[serde(rename = "EPERM")]
    Eperm = 1,
    /// Permission denied.
    #[serde(rename = "EACCES")]
    Eacces = 13,
    /// Invalid argument.
    #[serde(rename = "EINVAL")]
    Einval = 22,
    /// Function not implemented.
    #[serde(rename = "ENOSYS")]
    Enosys = 38,
    /// Address family not supported.
    #[serde(rename = "EAFNOSUPPORT")]
    Eafnosupport = 97,
}

impl Errno {
    /// The number.
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// A value of a resource limit: a number, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Limit {
    /// In the unit getrlimit(2) gives.
    Number(u64),
    /// `RLIM_INFINITY`.
    Word(Unlimited),
}

/// The word `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unlimited {
    /// No limit.
    Unlimited,
}

impl Limit {
    /// The value prlimit(2) takes; `RLIM_INFINITY` is all ones.
    pub fn value(self) -> u64 {
        match self {
            Limit::Number(n) => n,
            Limit::Word(Unlimited::Unlimited) => u64::MAX,
        }
    }
}

/// A resource of getrlimit(2), with its number on x86 and arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// CPU time, seconds.
    Cpu = 0,
    /// Size of a file, bytes.
    Fsize = 1,
    /// Data segment, bytes.
    Data = 2,
    /// Stack, bytes.
    Stack = 3,
    /// Core file, bytes.
    Core = 4,
    /// Processes of one user.
    Nproc = 6,
    /// Open files.
    Nofile = 7,
    /// Locked memory, bytes.
    Memlock = 8,
    /// Address space, bytes.
    As = 9,
    /// Queued signals of one user.
    Sigpending = 11,
    /// POSIX message queues of one user, bytes.
    Msgqueue = 12,
    /// Ceiling of the nice value, 20 minus it.
    Nice = 13,
    /// Real-time priority.
    Rtprio = 14,
}

impl Resource {
    /// The number prlimit(2) takes.
    pub fn number(self) -> u32 {
        self as u32
    }
}
