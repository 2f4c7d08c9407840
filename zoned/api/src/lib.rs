//! The contract between `zoned` and its clients.
//!
//! Everything that crosses the control socket is defined here, and nothing else is: names, states and
//! verbs, a zone's configuration, the calls and their replies, errors, events, figures. The transport is
//! varlink (JSON in NUL-terminated messages over a Unix socket, descriptors by `SCM_RIGHTS`); only this
//! crate and the daemon's `server` module know it.
//!
//! The API only grows: a field is added as optional, a method is never changed.

pub mod call;
pub mod client;
pub mod config;
pub mod error;
pub mod event;
pub mod name;
pub mod report;
pub mod session;
pub mod stat;
pub mod state;

pub use call::{Method, Reply};
pub use config::ZoneConfig;
pub use error::{ApiError, Fault};
pub use event::{Event, EventKind};
pub use name::ZoneName;
pub use report::{Finding, Leftover, ZoneInfo};
pub use stat::ZoneStat;
pub use state::{State, Verb};

/// Version of this API. A client refuses a daemon whose number is lower than its own.
pub const API_VERSION: u32 = 1;

/// Varlink interface name.
pub const INTERFACE: &str = "io.zoned.Manager";

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/zoned/zoned.sock";
