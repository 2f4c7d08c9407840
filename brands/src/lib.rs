//! The contract between a zone's userland and the host's kernel.
//!
//! A **brand** is a [`Profile`]: data that says what a kind of userland expects of the machine it boots on, and
//! why. This crate reads profiles, compiles their system-call filter, bounds privileges by them, and looks at a
//! root to tell which brand it wants. It needs no privilege, changes nothing, and reads only what it is handed.

pub mod capability;
pub mod detect;
pub mod profile;

pub use capability::{CapSet, Capability};
pub use profile::Profile;
