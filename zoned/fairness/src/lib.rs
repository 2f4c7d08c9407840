//! Who is entitled to how much of the CPUs.
//!
//! One definition for all who need it: what `stat` and `whatif` print, what the controller steers towards, and what the
//! bench holds measurements against.

mod flow;
mod level;
mod water;

use std::collections::BTreeSet;

pub use water::fill;

/// CPUs by number.
pub type Cpus = BTreeSet<u32>;

/// What somebody asks of the CPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim<'a> {
    /// Weight against the others. 0: only what nobody else can use, in equal parts among those with 0.
    pub shares: u64,
    /// Most it can use, in CPUs: its cap, or the number of its threads that can run. Infinite for as much as there is.
    pub most: f64,
    /// The CPUs it may use; all of them if none.
    pub cpus: Option<&'a Cpus>,
}
