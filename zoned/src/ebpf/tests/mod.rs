//! The programs in the running kernel, against real processes. Each test has cgroups, a bpffs and programs of its
//! own; without root or without the built object they say so and are skipped.

#![expect(clippy::print_stdout, reason = "tests say what they measured, and why they were skipped")]

mod accounting;
mod congestion;
mod cost;
mod devices;
mod events;
mod fss;
mod host;
mod naming;
mod takeover;
mod traffic;
