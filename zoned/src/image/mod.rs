//! Roots of zones: from an image to a dataset on shared layers.
//!
//! ```text
//! tar:FILE ───────────────┐
//! dir:PATH ── packed ─────┤                  digest     confined child, in the zone's ids
//! debian:S ── mmdebstrap ─┼─▶ a tar archive ────────▶ unpack ──▶ layers/<digest>/fs ◀── parents ── datasets/<uuid>
//! sparse ──── generated ──┘   (a stable file)                     shared, read-only                what the zone writes
//! ```
//!
//! Owns `<state>/layers`, `<state>/datasets` and the cache of bootstrapped archives. Whatever the source, it
//! becomes an archive first and goes through the same confined unpacking ([`worker`]); nothing is ever copied
//! into a layer by the daemon itself. Ids on disk are 0..65535 as the userland has them, and nothing is named by
//! a zone's name. Nothing is attached to the host's mounts.

pub mod archive;
mod child;
pub mod dataset;
mod digest;
mod error;
pub mod install;
pub mod layers;
mod lock;
pub mod remove;
pub mod source;
mod temp;
mod view;
pub mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub use digest::Digest;
pub use error::ImageError;
pub use install::{Images, InstallError, Installed, Stage};
pub use view::RootView;

use error::StateIo;

/// A step of an install, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is being done.
    pub what: String,
    /// Bytes done, and of how many where that is known.
    pub amount: Option<(u64, Option<u64>)>,
}

impl Step {
    /// A step without a measure.
    pub fn new(what: impl Into<String>) -> Self {
        Step { what: what.into(), amount: None }
    }

    /// A step of which so many bytes are done.
    pub fn bytes(what: impl Into<String>, done: u64, of: Option<u64>) -> Self {
        Step { what: what.into(), amount: Some((done, of)) }
    }
}

/// Asks an install to stop; copies ask the same one.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks. What runs ends within a tenth of a second, removes what it has made, and says
    /// [`ImageError::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error if that was asked.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        if self.is_cancelled() { Err(ImageError::Cancelled) } else { Ok(()) }
    }
}
