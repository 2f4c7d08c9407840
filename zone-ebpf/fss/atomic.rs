//! Read-modify-write of words that several CPUs write. The target has no such operations on Rust's atomic types, but the
//! instructions.

#[cfg(target_arch = "bpf")]
use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg, atomic_xadd, atomic_xchg};

/// Adds, and returns what was there before.
#[inline(always)]
pub(crate) fn add(word: *mut u64, value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the word is of a map value, which the verifier has seen to.
    return unsafe { atomic_xadd::<u64, u64, { SeqCst }>(word, value) };
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never called.
    unsafe {
        *word + value
    }
}

/// The same of a 32-bit word.
#[inline(always)]
pub(crate) fn add32(word: *mut u32, value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as above.
    return unsafe { atomic_xadd::<u32, u32, { SeqCst }>(word, value) };
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never called.
    unsafe {
        *word + value
    }
}

/// Writes a word, and returns what was there before. Nothing is moved across it.
#[inline(always)]
pub(crate) fn swap32(word: *mut u32, value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as above.
    return unsafe { atomic_xchg::<u32, { SeqCst }>(word, value) };
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never called.
    unsafe {
        *word + value
    }
}

/// The same of a 64-bit word.
#[inline(always)]
pub(crate) fn swap(word: *mut u64, value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as above.
    return unsafe { atomic_xchg::<u64, { SeqCst }>(word, value) };
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never called.
    unsafe {
        *word + value
    }
}

/// Writes `new` where `old` is; true if it was.
#[inline(always)]
pub(crate) fn replace(word: *mut u64, old: u64, new: u64) -> bool {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as above.
    return unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new) }.1;
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never called.
    unsafe {
        *word == old + new
    }
}

/// The same of a 32-bit word.
#[inline(always)]
pub(crate) fn replace32(word: *mut u32, old: u32, new: u32) -> bool {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as above.
    return unsafe { atomic_cxchg::<u32, { SeqCst }, { SeqCst }>(word, old, new) }.1;
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never called.
    unsafe {
        *word == old + new
    }
}
