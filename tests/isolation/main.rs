//! Attempts of a zone's root to see or touch the host or another zone.
//!
//! Each is a script of raw system calls with the answer that must come and the reason for it; most are also made
//! where the mechanism that refuses is not in the way, so that a script that is merely wrong cannot pass for a refusal.
//! `--nocapture` shows them all. Nothing here could do harm if it succeeded.

mod arena;
mod attempt;
mod calls;

mod cgroups;
mod clocks;
mod descriptors;
mod devices;
mod entering;
mod files;
mod ipc;
mod kernel;
mod kernel_files;
mod mounts;
mod network;
mod notify;
mod planted;
mod processes;
mod shell;
mod text;
