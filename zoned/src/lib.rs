//! The daemon and the zone monitor, as a library of parts.

pub mod monitor;
pub mod mountinfo;
pub mod plan;
pub mod platform;
pub mod store;
pub mod sys;
