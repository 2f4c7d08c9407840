//! zonectl against a daemon that does what a test tells it: answers that the real one gives only when something
//! breaks at the right moment. What zones themselves do is tested with the real one, in the workspace's `tests`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes only functions marked as tests for tests; the rest of this crate is, too"
)]

mod copies;
mod scripted;
mod sessions;
mod terminal;
mod verbs;
