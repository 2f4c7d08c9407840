//! The contract between a zone's userland and the host's kernel.
//!
//! A **brand** is a [`Profile`]: data that says what a kind of userland expects of the machine it boots on, and
//! why. This crate reads profiles ([`library`]), bounds privileges by them ([`capability`]), compiles their
//! system-call filter ([`filter`]), and looks at a root to tell what it holds ([`detect`], [`elf`], [`survey`]). It needs
//! no privilege, changes nothing, and reads only what it is handed.

pub mod capability;
pub mod detect;
pub mod elf;
pub mod filter;
pub mod library;
pub mod profile;
pub mod survey;
pub mod syscall;
pub mod text;
pub mod verdict;

pub use capability::{CapSet, Capability};
pub use detect::{Detection, InitCheck, InitKind, RootFs, detect, suggest};
pub use library::{Library, ProfileError};
pub use profile::Profile;
