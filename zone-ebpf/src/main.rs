//! The kernel side of zones: who takes what CPU time, which processes come and go, who may use which device, what goes
//! over the network.
//!
//! One subject a file; what user space has to know is in `zone-ebpf-abi`. Nothing here decides: user space writes
//! the policy maps, these programs carry them out and count, whether or not anybody is there to read.
//!
//! What the verifier and the target ask for throughout: no bounds check that can panic (a panic is a call that never
//! returns, which does not load), fields of kernel structures by offsets that user space resolves from BTF, and no
//! atomic read-modify-write where a per-CPU value will do.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

mod account;
mod device;
mod figures;
mod flush;
mod identity;
mod note;
mod process;
mod task;
mod traffic;

use aya_ebpf::{Global, btf_maps::Array, macros::btf_map};
use zone_ebpf_abi::Meta;

#[unsafe(no_mangle)]
static ZONE_LAYOUT: Global<u32> = Global::new(zone_ebpf_abi::LAYOUT);

#[unsafe(no_mangle)]
static ZONE_GENERATION: Global<u32> = Global::new(0);

#[btf_map(name = "zone_meta")]
static META: Array<Meta, 1> = Array::new();

/// Whether it is the turn of this generation of programs. While zoned is upgraded two are attached.
#[inline(always)]
fn active() -> bool {
    META.get(0).is_some_and(|meta| meta.active == ZONE_GENERATION.load())
}

/// BTF tracepoints and their helpers are for programs with a licence that is compatible with the GPL.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// For the host this is only checked, as any other crate is.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
