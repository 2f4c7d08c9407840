//! Counts that several CPUs change.

use aya_ebpf::btf_maps::Array;

use crate::atomic;

/// A map that holds one count.
pub(crate) type Count = Array<u32, 1>;

/// Counts one more or one less; what it was before.
#[inline(always)]
pub(crate) fn change(word: *mut u32, more: bool) -> u32 {
    atomic::add32(word, if more { 1 } else { 1_u32.wrapping_neg() })
}

/// The same in a map.
#[inline(always)]
pub(crate) fn change_in(count: &Count, more: bool) {
    if let Some(word) = count.get_ptr_mut(0) {
        change(word, more);
    }
}

#[inline(always)]
pub(crate) fn read(count: &Count) -> u32 {
    // SAFETY: of a map value; the word is read whole.
    count.get_ptr(0).map_or(0, |word| unsafe { word.read_volatile() })
}
