//! CPU shares: what keeps them on this host, and what they come to.
//!
//! ```text
//! set, boot ─▶ limits ─▶ weight of the zone's group ─▶ zone-fss, or the kernel's own scheduler
//!                ▲                                            │
//!   deficit ─────┘ ◀── CPU time, waits (eBPF) ◀───────────────┘
//! ```
//! Weights are written in one place, [`crate::zone::limits`], whoever wants them changed.

mod backend;
mod caches;
pub mod cgroup_mode;
mod dedicated;
mod deficit;
mod entitlement;
mod global;
mod keeper;
mod steer;

pub use self::{
    backend::{Backend, Choice},
    cgroup_mode::Held,
    entitlement::{Flow, entitlements, what_if},
    global::GlobalError,
    keeper::Keeper,
    steer::steer,
};

/// Has the kernel keep shares, whichever backend is in force: another one that fails falls back to it.
pub fn prepare() -> Held {
    cgroup_mode::hold()
}

/// Undoes that, when no zone is left.
pub fn unload(held: Held) {
    cgroup_mode::put_back(held);
}
