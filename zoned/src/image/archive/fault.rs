//! What can be wrong with an archive. Errors cross a pipe from a confined process, so they are plain data, and
//! every text in them is hostile until [`escape`] has been over it.

use std::{fmt, io};

use brands::text::escape;
use serde::{Deserialize, Serialize};

/// An archive that could not be unpacked. What was written until then is left to the caller to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveError {
    /// It does not begin like a tar archive.
    #[error("not a tar archive (plain, or compressed by gzip, xz or zstd): {0}")]
    NotAnArchive(Cause),
    /// It is one of a form that is not supported.
    #[error("{} is not supported; pack it again as plain tar, or tar with gzip, xz or zstd", escape(.0))]
    Unsupported(String),
    /// It ends too early.
    #[error("truncated: it ends after {entries} entries without its end mark")]
    Truncated {
        /// Whole entries read.
        entries: u64,
    },
    /// It is damaged.
    #[error("damaged after {entries} entries")]
    Damaged {
        /// Whole entries read.
        entries: u64,
        /// In what way.
        source: Cause,
    },
    /// It could not be read.
    #[error("cannot be read")]
    Read(#[source] Cause),
    /// An entry would do what no archive may.
    #[error("entry {} refused: {why}", escape(path))]
    Refused {
        /// Name of the entry.
        path: String,
        /// What it tried.
        why: Refusal,
    },
    /// It holds more than it may.
    #[error("too large: more than {limit} {}", escape(of))]
    TooLarge {
        /// Bytes, entries, …
        of: String,
        /// How many are allowed.
        limit: u64,
    },
    /// An entry could not be written.
    #[error("entry {} cannot be written", escape(path))]
    Write {
        /// Name of the entry.
        path: String,
        /// Why.
        source: Cause,
    },
}

/// Why an entry is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The name is empty or contains NUL.
    #[error("its name is empty or contains NUL")]
    BadName,
    /// The name begins with `/`.
    #[error("its name is absolute")]
    Absolute,
    /// The name has a `..` in it.
    #[error("its name contains ..")]
    DotDot,
    /// The name is longer than Linux can open.
    #[error("its name is longer than 4095 bytes, or a part of it than 255")]
    TooLong,
    /// A folder on the way is none.
    #[error("a folder on the way to it is a symbolic link or no folder")]
    ThroughSymlink,
    /// What is in its place cannot be replaced by it.
    #[error("there is {} in its place already", escape(.0))]
    InTheWay(String),
    /// It is a device node outside of `dev/`.
    #[error("it is a device node")]
    Device,
    /// A hard link's target is absolute, has `..` in it or leads through a symbolic link.
    #[error("it is a hard link to {}, which leads out of the archive", escape(.0))]
    LinkOutside(String),
    /// A hard link's target has not been unpacked.
    #[error("it is a hard link to {}, which is not in the archive before it", escape(.0))]
    LinkMissing(String),
    /// A symbolic link without a target, or with one that is too long.
    #[error("it is a symbolic link whose target is empty, too long or contains NUL")]
    BadTarget,
    /// The owner or group is beyond a zone's ids.
    #[error("its owner or group, {0}, is beyond 65535")]
    Owner(u64),
    /// A kind of entry nobody knows.
    #[error("its kind {0:#04x} is unknown")]
    Kind(u8),
}

/// The text of an error of the system or of a decompressor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause(pub String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl std::error::Error for Cause {}

impl From<io::Error> for Cause {
    fn from(e: io::Error) -> Self {
        Cause(e.to_string())
    }
}

impl From<rustix::io::Errno> for Cause {
    fn from(e: rustix::io::Errno) -> Self {
        io::Error::from(e).into()
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Cause(text.to_owned())
    }
}
