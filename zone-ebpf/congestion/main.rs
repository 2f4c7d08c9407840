//! TCP congestion control, to test the loader of struct_ops by where there is no sched_ext: additive increase,
//! multiplicative decrease, by a program's own sums and by a function of the kernel's.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code, improper_ctypes))]

use aya_ebpf::{Global, btf_maps::Array, cty::c_void, macros::btf_map};

/// Byte offset of `tcp_sock.snd_cwnd`.
#[unsafe(no_mangle)]
static SOCK_WINDOW: Global<u32> = Global::new(0);
/// 1 if this kernel has [`zone_no_such_function`], which none has.
#[unsafe(no_mangle)]
static HAS_NONE_SUCH: Global<u32> = Global::new(0);

/// Calls of each operation: a loss, an acknowledgement, an undone loss.
#[btf_map(name = "congestion")]
static CALLS: Array<u64, 3> = Array::new();

unsafe extern "C" {
    fn tcp_reno_cong_avoid(sk: *mut c_void, ack: u32, acked: u32);
    fn zone_no_such_function(sk: *mut c_void);
}

/// Argument `n` of an operation.
#[inline(always)]
fn argument(ctx: *const u64, n: usize) -> u64 {
    // SAFETY: the verifier knows how many there are.
    unsafe { ctx.add(n).read() }
}

/// Not inlined: so that the loader has a function to place.
#[inline(never)]
fn count(operation: u32) -> u64 {
    match CALLS.get_ptr_mut(operation) {
        // SAFETY: valid until the program ends; a count that is lost by two CPUs at once does not matter here.
        Some(calls) => unsafe {
            *calls += 1;
            *calls
        },
        None => 0,
    }
}

#[inline(always)]
fn window(ctx: *const u64) -> u32 {
    let sock = argument(ctx, 0) as *const c_void;
    // SAFETY: the verifier accepts the load only where the host's BTF has a field of that size.
    unsafe { sock.byte_add(SOCK_WINDOW.load() as usize).cast::<u32>().read() }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/ssthresh")]
extern "C" fn zone_ssthresh(ctx: *const u64) -> u32 {
    count(0);
    let half = window(ctx) / 2;
    if half < 2 { 2 } else { half }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/cong_avoid")]
extern "C" fn zone_cong_avoid(ctx: *const u64) -> i32 {
    count(1);
    let sock = argument(ctx, 0) as *mut c_void;
    // SAFETY: functions of the kernel, called as it defines them; the second one is never reached.
    unsafe {
        tcp_reno_cong_avoid(sock, argument(ctx, 1) as u32, argument(ctx, 2) as u32);
        if HAS_NONE_SUCH.load() != 0 {
            zone_no_such_function(sock);
        }
    }
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/undo_cwnd")]
extern "C" fn zone_undo_cwnd(ctx: *const u64) -> u32 {
    count(2);
    window(ctx)
}

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
