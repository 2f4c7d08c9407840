//! Releases, systems and levels.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A release of a kernel or of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub [u32; 3]);

impl Release {
    /// Reads `2.6.32`, `2.17` or the like, up to what is no number. None if it begins with none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = [0; 3];
        let mut left = text;
        for (index, part) in parts.iter_mut().enumerate() {
            let digits = left.find(|c: char| !c.is_ascii_digit()).unwrap_or(left.len());
            match left[..digits].parse() {
                Ok(number) => *part = number,
                Err(_) if index > 0 => break,
                Err(_) => return None,
            }
            match left[digits..].strip_prefix('.') {
                Some(next) => left = next,
                None => break,
            }
        }
        Some(Self(parts))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}")?;
        if patch == 0 { Ok(()) } else { write!(f, ".{patch}") }
    }
}

impl Serialize for Release {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Release {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Release::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no release, like 2.6.32")))
    }
}

/// The system a file is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Linux.
    Linux,
    /// Linux with Android's C library (bionic).
    Android,
    /// FreeBSD, or GNU on its kernel (kFreeBSD).
    #[serde(rename = "freebsd")]
    FreeBsd,
    /// GNU's Hurd.
    Hurd,
    /// NetBSD.
    #[serde(rename = "netbsd")]
    NetBsd,
    /// OpenBSD.
    #[serde(rename = "openbsd")]
    OpenBsd,
    /// Solaris.
    Solaris,
    /// Another.
    Other,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            System::Linux => "Linux",
            System::Android => "Android",
            System::FreeBsd => "FreeBSD",
            System::Hurd => "Hurd",
            System::NetBsd => "NetBSD",
            System::OpenBsd => "OpenBSD",
            System::Solaris => "Solaris",
            System::Other => "another system",
        })
    }
}

/// A level of x86-64 processors (the psABI's microarchitecture levels), 1 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Level(pub u8);

impl Level {
    /// The newest of a set, one bit each.
    pub(super) fn newest_of(set: u32) -> Option<Self> {
        (1..=4).rev().find(|level| set & 1 << (level - 1) != 0).map(Self)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x86-64-v{}", self.0)
    }
}
