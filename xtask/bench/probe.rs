//! The process that `cargo xtask bench boot` starts: its first act is to read the clock.
//!
//! No library, no start-up code, no vDSO: what runs before its first instruction is the kernel and whoever set the
//! process up. The clock is `CLOCK_REALTIME`, the one that a time namespace cannot offset. It prints that time in
//! nanoseconds as a decimal number on a line, and exits with 0.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const EXIT_GROUP: usize = 231;
    pub const CLOCK_GETTIME: usize = 228;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const WRITE: usize = 64;
    pub const EXIT_GROUP: usize = 94;
    pub const CLOCK_GETTIME: usize = 113;
}

const CLOCK_REALTIME: usize = 0;
const STANDARD_OUTPUT: usize = 1;

// The kernel starts a process with a stack aligned to 16 bytes and no return address on it.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "call {begin}", "ud2", begin = sym begin);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "bl {begin}", "brk #0", begin = sym begin);

extern "C" fn begin() -> ! {
    let mut time = [0u64; 2];
    system_call(number::CLOCK_GETTIME, CLOCK_REALTIME, time.as_mut_ptr() as usize, 0);
    let [seconds, nanoseconds] = time;
    let mut rest = seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds);
    // The 19 digits of a time in this century, and the end of the line; nothing here can panic, since the library's
    // panic would need an unwinder.
    let mut line = [b'\n'; 20];
    for digit in line.iter_mut().rev().skip(1) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    system_call(number::WRITE, STANDARD_OUTPUT, line.as_ptr() as usize, line.len());
    loop {
        system_call(number::EXIT_GROUP, 0, 0, 0);
    }
}

#[cfg(target_arch = "x86_64")]
fn system_call(number: usize, a: usize, b: usize, c: usize) -> usize {
    let result;
    // SAFETY: the three calls made above read or write only the buffers of `begin`, within their bounds, and the
    // kernel changes no register but the ones named here.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn system_call(number: usize, a: usize, b: usize, c: usize) -> usize {
    let result;
    // SAFETY: the three calls made above read or write only the buffers of `begin`, within their bounds, and the
    // kernel changes no register but the ones named here.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, options(nostack));
    }
    result
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        system_call(number::EXIT_GROUP, 101, 0, 0);
    }
}
