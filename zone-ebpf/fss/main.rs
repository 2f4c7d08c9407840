//! `zone-fss`: Solaris' fair-share scheduler as a sched_ext scheduler. What a zone gets of the CPUs is decided by its shares,
//! however many threads it starts.
//!
//! ```text
//!                     ┌─ idle CPU: its own queue, at once
//! task wakes / yields ┤
//!                     ├─ queue of its zone ── by virtual time of the task in its zone
//!                     └─ queue of a CPU ───── where it may use only some of them
//! CPU wants a task ──▶ zone with the least virtual time (tree) or the head of its own queue ──▶ runs, zone is charged
//! ```
//! Zones are what cgroup2 folders at one depth are ([`ids`](zone)); everything else is the host, one more flow. Weights and
//! caps are those of the zones' cgroups (`cpu.weight`, `cpu.idle`, `cpu.max`), which the kernel tells: when this scheduler is
//! gone the fair class goes by the same figures. One subject a file; arithmetic is in `zone-ebpf-abi`.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features))]
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code, unused_imports, improper_ctypes))]

mod atomic;
mod cap;
mod count;
mod dispatch;
mod enqueue;
mod group;
mod host;
mod inner;
mod kernel;
mod lifecycle;
mod queue;
mod run;
mod sweep;
mod task;
mod tree;
mod zone;

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// For the host this is only checked, as any other crate is.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
