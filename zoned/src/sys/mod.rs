//! All unsafe code of this crate: system calls that no crate wraps, each with the rule that makes it sound.
