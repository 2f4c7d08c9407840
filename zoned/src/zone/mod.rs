//! Zones, one actor each: the way of a request is [`zones`] → [`actor`] → [`transitions`] → [`operation`] →
//! `bring_up`, `halt`, `roots`, …

pub mod actor;
pub mod autoboot;
mod bring_up;
mod configure;
mod first;
mod halt;
mod launch;
pub mod limits;
pub mod monitors;
pub mod online;
pub mod operation;
mod pause;
mod preflight;
pub mod recovery;
pub mod request;
mod roots;
pub mod run_record;
mod session;
pub mod status;
mod tear_down;
pub mod tether;
pub mod transitions;
mod warnings;
mod work;
pub mod zones;

pub use configure::{check, weighed};
pub use warnings::warnings;
