//! The daemon and the zone monitor, as a library of parts.

pub mod audit;
pub mod brand;
pub mod cpu;
pub mod daemon;
pub mod doctor;
pub mod ebpf;
pub mod events;
pub mod fault;
pub mod host;
pub mod image;
pub mod metering;
pub mod monitor;
pub mod mountinfo;
pub mod network;
pub mod options;
pub mod plan;
pub mod platform;
pub mod server;
pub mod stats;
pub mod store;
pub mod sys;
pub mod zone;
