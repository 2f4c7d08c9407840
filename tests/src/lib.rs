//! A daemon of a test's own, with its own folders and names, and what a test does with it.
//!
//! Whatever a test makes is removed by its [guard](../guard/main.rs): a process that outlives the test, even one
//! that is killed, and ends only what the test started.

mod binaries;
mod ctx;
mod netns;
mod outcome;
mod run;
mod speaker;
pub mod sys;
pub mod wait;
mod wire;

pub use binaries::path as binary;
pub use ctx::TestCtx;
pub use netns::Netns;
pub use outcome::Outcome;
pub use run::{run, run_with, together};
pub use speaker::speaker;
pub use wire::Wire;
