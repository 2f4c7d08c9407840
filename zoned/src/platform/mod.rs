//! The mechanisms of the kernel a zone is made of, one file a concern.
//!
//! The monitor's short-lived processes call these in the order of [`crate::monitor`]; none of them knows the
//! whole. All paths of a zone are resolved by [`paths`], never by the host's root.

pub mod cgroup;
pub mod confine;
pub mod console;
pub mod devices;
pub mod disks;
pub mod failure;
pub mod mounts;
pub mod overlay;
pub mod paths;
pub mod provided;
pub mod rootfs;
pub mod timens;
pub mod userns;
pub mod users;
pub mod volume;

pub use failure::{At, Failure};
