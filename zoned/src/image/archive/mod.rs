//! Tar archives of hostile origin, into a folder and out of one.
//!
//! [`unpack`] writes an archive into an open folder, [`pack`] reads a folder into one. Everything is reached by
//! descriptor, from the folder downwards: every parent folder is opened by openat2(2) with `RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS`, and the last component is only ever created anew (`O_EXCL`), linked or replaced, never
//! followed. `RESOLVE_IN_ROOT` would be no less safe for the host, but it would let one entry of an archive
//! decide where a later one lands; here that is an error which names both.
//!
//! The crate `tar` is used for the form of headers only. Its own iterator keeps a name of any length in memory,
//! takes an archive cut between two entries for a whole one, splits binary attribute values at newlines, and
//! its `unpack` resolves paths by name.
//!
//! Nothing here needs privilege except keeping owners; nothing here knows about zones.

mod content;
mod create;
mod decode;
mod fault;
mod inside;
mod members;
mod pack;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;
mod unpack;

use serde::{Deserialize, Serialize};

pub use fault::{ArchiveError, Cause, Refusal};
pub use pack::{Only, PackError, Packed, pack};
pub use unpack::unpack;

/// What an archive may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Most bytes of file contents in all, holes counted as if they were written.
    pub bytes: u64,
    /// Most entries, skipped ones counted as well.
    pub entries: u64,
    /// Most bytes of one entry's extension headers (long names, attributes); they are held in memory.
    pub extension: u64,
    /// Most bytes of folder names in all: folders are remembered, since their times and modes are set last.
    pub names: u64,
    /// Whose the files become.
    pub owners: Owners,
    /// Whether an entry for `./` gives the folder itself its owner, mode and time.
    pub root: bool,
}

/// Whose unpacked files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owners {
    /// Owners, set-id bits and file capabilities as stored. Needs CAP_CHOWN, CAP_FOWNER and CAP_SETFCAP.
    Kept,
    /// All belongs to the caller; set-id bits and file capabilities are dropped, since they were meant for
    /// somebody else.
    Caller,
}

/// Largest owner accepted: a zone has 65,536 ids.
pub const MAX_ID: u64 = 65_535;

impl Default for Rules {
    /// For a userland's image: 64 GiB, a million entries, owners kept.
    fn default() -> Self {
        Rules {
            bytes: 64 << 30,
            entries: 1_000_000,
            extension: 1 << 20,
            names: 256 << 20,
            owners: Owners::Kept,
            root: true,
        }
    }
}

/// How far it is, in units of the unpacked archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Bytes of file contents.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Entries and their bytes.
    pub amount: Amount,
    /// Device nodes below `dev/` that were left out: a zone gets its `/dev` from the host.
    pub devices_skipped: u64,
    /// Extended attributes that were left out: other than `user.*` and `security.capability`, or of a kind the
    /// file system cannot hold.
    pub attributes_dropped: u64,
}
