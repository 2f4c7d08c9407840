//! The zone monitor.
fn main() {}
