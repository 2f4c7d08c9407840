//! The filter asked of the kernel itself: each call is made by a child without it and by one with it.
//!
//! The only `unsafe` of this crate, for tests. A child of a process with threads may only make system calls
//! between fork and exit, so it allocates nothing: calls and answers lie in arrays made before.

use std::{
    arch::asm,
    io::{Read, pipe},
    os::fd::AsRawFd,
};

use super::tests::{default_caps, native};
use super::*;

/// How a call is made: `syscall` or `int 0x80`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Native,
    Ia32,
}

type Call = (Entry, u32, [u64; 6]);

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;
const EAFNOSUPPORT: i64 = -97;

fn call(entry: Entry, number: u32, a: [u64; 6]) -> i64 {
    let mut result = u64::from(number);
    match entry {
        // SAFETY: the instruction clobbers rax, rcx and r11 only; the tests pass no pointer the kernel could write through.
        Entry::Native => unsafe {
            asm!("syscall", inout("rax") result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
                in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _);
            result as i64
        },
        // SAFETY: as above; rbx, which the compiler keeps for itself, is put back.
        Entry::Ia32 => unsafe {
            asm!("xchg rbx, {first}", "int 0x80", "xchg rbx, {first}", first = inout(reg) a[0] => _,
                inout("rax") result, in("rcx") a[1], in("rdx") a[2], in("rsi") a[3], in("rdi") a[4],
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
            i64::from(result as i32)
        },
    }
}

/// Answers of the calls made by a child, under a filter if one is given; none if the child died.
fn answers(filter: Option<&[u8]>, calls: &[Call]) -> Option<Vec<i64>> {
    let (mut reader, writer) = pipe().unwrap();
    let mut results = vec![0i64; calls.len()];
    // SAFETY: the child makes system calls and touches memory made before; it leaves by _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        filter.inspect(|program| install(program));
        for (result, (entry, number, args)) in results.iter_mut().zip(calls) {
            *result = call(*entry, *number, *args);
        }
        let bytes = results.len() * 8;
        // SAFETY: the descriptor and the array are the child's own.
        unsafe {
            libc::write(writer.as_raw_fd(), results.as_ptr().cast(), bytes);
            libc::_exit(0);
        }
    }
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    // SAFETY: waits for the child made above, and no other.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let answers: Vec<_> = bytes.as_chunks().0.iter().map(|b| i64::from_ne_bytes(*b)).collect();
    (answers.len() == calls.len()).then_some(answers)
}

fn install(program: &[u8]) {
    let len = (program.len() / 8) as libc::c_ushort;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: prctl takes numbers; seccomp reads the program, which outlives the call. A failure ends the child.
    unsafe {
        let loaded = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
        if !loaded {
            libc::_exit(1);
        }
    }
}

/// Makes each call in both children; the answer without the filter must differ from what the filter says.
fn check(cases: &[(Call, i64)]) {
    let profile = native();
    let program = compile(&profile, default_caps(&profile)).unwrap();
    let calls: Vec<_> = cases.iter().map(|(call, _)| *call).collect();
    let without = answers(None, &calls).expect("the child without a filter died");
    let with = answers(Some(&program), &calls).expect("the child with the filter died");
    for (((call, said), without), with) in cases.iter().zip(without).zip(with) {
        assert_eq!(with, *said, "{call:?}");
        if without == EAFNOSUPPORT {
            eprintln!("not shown: {call:?}, this kernel has no AF_VSOCK to be kept from");
            continue;
        }
        assert_ne!(without, *said, "{call:?}: proves nothing, the kernel says so itself");
    }
}

const GARBAGE: u64 = 0xdead_beef_0000_0000;
const BAD_FD: u64 = 1000;

#[test]
fn the_kernel_refuses_what_the_filter_refuses() {
    let native = |number, args| (Entry::Native, number, args);
    check(&[
        // bpf with a bad command: EINVAL without the filter.
        (native(321, [9999, 0, 0, 0, 0, 0]), EPERM),
        (native(16, [BAD_FD, 0x5412, 0, 0, 0, 0]), EPERM),
        (native(16, [BAD_FD, GARBAGE | 0x5412, 0, 0, 0, 0]), EPERM),
        (native(41, [40, 1, 0, 0, 0, 0]), EAFNOSUPPORT),
        (native(41, [GARBAGE | 40, 1, 0, 0, 0, 0]), EAFNOSUPPORT),
        (native(135, [6, 0, 0, 0, 0, 0]), EPERM),
        (native(425, [0; 6]), ENOSYS),
        (native(250, [9999, 0, 0, 0, 0, 0]), ENOSYS),
        (native(103, [9999, 0, 0, 0, 0, 0]), EPERM),
    ]);
}

#[test]
fn the_kernel_still_does_the_rest() {
    let profile = native();
    let program = compile(&profile, default_caps(&profile)).unwrap();
    let said = answers(
        Some(&program),
        &[
            (Entry::Native, 39, [0; 6]),
            (Entry::Native, 16, [BAD_FD, 0x5413, 0, 0, 0, 0]),
            (Entry::Native, 135, [0xffff_ffff, 0, 0, 0, 0, 0]),
            (Entry::Native, 41, [1, 1, 0, 0, 0, 0]),
            (Entry::Native, 1000, [0; 6]),
            (Entry::Native, 0x4000_0027, [0; 6]),
            (Entry::Native, u32::MAX, [0; 6]),
        ],
    );
    let said = said.expect("the child died");
    assert!(said[0] > 1 && said[3] >= 0, "getpid, socket: {said:?}");
    assert_eq!(said[1..3], [-9, 0], "EBADF by ioctl itself, plain Linux");
    assert_eq!(said[4..], [ENOSYS; 3], "unknown, x32 and skipped");
}

#[test]
fn programs_of_32_bits_meet_the_same_filter() {
    let ia32 = |number, args| (Entry::Ia32, number, args);
    if answers(None, &[ia32(20, [0; 6])]).is_none_or(|said| said[0] <= 0) {
        eprintln!("skipped: this kernel runs no 32-bit calls (IA32_EMULATION)");
        return;
    }
    check(&[
        (ia32(357, [9999, 0, 0, 0, 0, 0]), EPERM),
        (ia32(54, [BAD_FD, 0x5412, 0, 0, 0, 0]), EPERM),
        (ia32(102, [1, 0, 0, 0, 0, 0]), EAFNOSUPPORT),
        (ia32(359, [40, 1, 0, 0, 0, 0]), EAFNOSUPPORT),
        (ia32(136, [6, 0, 0, 0, 0, 0]), EPERM),
        (ia32(425, [0; 6]), ENOSYS),
    ]);
    let profile = native();
    let program = compile(&profile, default_caps(&profile)).unwrap();
    let said = answers(Some(&program), &[ia32(20, [0; 6]), ia32(1000, [0; 6])]).expect("the child died");
    assert!(said[0] > 1 && said[1] == ENOSYS, "getpid, unknown: {said:?}");
    let alone = compile_for(&profile, default_caps(&profile), &[Arch::X86_64]).unwrap();
    assert_eq!(answers(Some(&alone), &[ia32(20, [0; 6])]), Some(vec![ENOSYS]), "a foreign convention");
}
