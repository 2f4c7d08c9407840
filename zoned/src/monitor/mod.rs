//! `zone-monitor`: one small, single-threaded process a zone that outlives the daemon.
//!
//! It carries out a finished [plan](crate::plan), then owns the zone's console, reaps its first process, and
//! forks into the zone for `exec` and `cp`. It decides nothing, and waits for nothing that a zone controls.

pub mod boot;
pub mod builder;
pub mod builtin;
pub mod connections;
pub mod console;
pub mod enter;
pub mod init;
pub mod launch;
pub mod link;
pub mod notify;
pub mod packet;
pub mod poller;
pub mod protocol;
pub mod run;
pub mod sessions;
pub mod transfer;
