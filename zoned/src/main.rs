//! The zones daemon.
fn main() {}
