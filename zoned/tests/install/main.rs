//! Installs of real images by the real `zoned worker`, as root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, its helpers as well")]

mod archives;
mod folders;
mod ground;
mod removal;
mod worker;
