//! CPU shares: what keeps them on this host, and what they come to.
//!
//! ```text
//! set, boot ─▶ limits ─▶ weight of the zone's group ─▶ the kernel's scheduler
//!                ▲                                            │
//!   deficit ─────┘ ◀── CPU time, waits (eBPF) ◀───────────────┘
//! ```
//! Weights are written in one place, [`crate::zone::limits`], whoever wants them changed.

mod backend;
pub mod cgroup_mode;
mod deficit;
mod entitlement;
mod steer;

use std::path::Path;

pub use self::{
    backend::{Backend, Choice, choose},
    entitlement::{entitlements, what_if},
    steer::steer,
};

/// Prepares this host for shares.
pub fn prepare(run_dir: &Path) {
    cgroup_mode::set(run_dir);
}

/// Undoes that, when no zone is left.
pub fn unload(run_dir: &Path) {
    cgroup_mode::put_back(run_dir);
}
