//! Files made for tests.

use goblin::elf::program_header::{PF_R, PF_X, PT_LOAD};

/// Writes bytes over others.
pub(crate) fn word(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A static x86-64 program of the given segments: kind, flags, bytes.
pub(crate) fn made(segments: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    word(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    word(&mut bytes, 16, &[2, 0, 62, 0, 1]);
    word(&mut bytes, 32, &64u64.to_le_bytes());
    word(&mut bytes, 52, &[64, 0, 56, 0, segments.len() as u8, 0]);
    let mut at = 64 + 56 * segments.len() as u64;
    for (kind, flags, content) in segments {
        let size = content.len() as u64;
        bytes.extend([kind.to_le_bytes(), flags.to_le_bytes()].concat());
        for value in [at, at, at, size, size, 8] {
            bytes.extend(value.to_le_bytes());
        }
        at += size;
    }
    bytes.extend(segments.iter().flat_map(|(_, _, content)| content.clone()));
    bytes
}

pub(crate) const CALL: [u8; 9] = [0x48, 0xc7, 0xc0, 0, 4, 0x60, 0xff, 0xff, 0xd0];
pub(crate) const JUMP: [u8; 9] = [0x48, 0xc7, 0xc0, 0, 0, 0x60, 0xff, 0xff, 0xe0];
/// `mov $address, %rdx`.
pub(crate) const LOADED: [u8; 7] = [0x48, 0xc7, 0xc2, 0, 8, 0x60, 0xff];
/// `movabs $address, %rbx`.
pub(crate) const LOADED_WIDE: [u8; 10] = [0x48, 0xbb, 0, 4, 0x60, 0xff, 0xff, 0xff, 0xff, 0xff];
pub(crate) const POINTER: [u8; 8] = [0, 8, 0x60, 0xff, 0xff, 0xff, 0xff, 0xff];

/// Where the one segment of such a program begins.
pub(crate) const BEGIN: u64 = 64 + 56;

/// A static program that calls `time` of the vsyscall page.
pub(crate) fn old_caller() -> Vec<u8> {
    made(&[(PT_LOAD, PF_R | PF_X, CALL.to_vec())])
}
