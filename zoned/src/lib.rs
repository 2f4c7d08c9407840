//! The daemon and the zone monitor, as a library of parts.

pub mod monitor;
pub mod plan;
pub mod platform;
pub mod sys;
