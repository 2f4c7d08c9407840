//! Copies between host and zone, as a tar stream through a pipe.
//!
//! Inside the zone its monitor's copy packs or unpacks; the other half is here. What comes out of a zone is
//! hostile: [`unpack`] builds it in a fresh folder beside the target, and only a whole copy is renamed into place.

mod abortable;
mod address;
mod pack;
mod place;
mod unpack;

pub(crate) use abortable::Abortable;
pub(crate) use address::{Address, Side};
pub(crate) use pack::{Source, pack};
pub(crate) use place::Place;
pub(crate) use unpack::{Fault, unpack};

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Files, folders and links.
    pub(crate) entries: u64,
    /// Bytes of file contents.
    pub(crate) bytes: u64,
    /// Devices and sockets left out.
    pub(crate) skipped: u64,
}

#[cfg(test)]
mod tests;
