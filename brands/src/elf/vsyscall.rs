//! Where a program calls the vsyscall page, which kernels of today may not have.
//!
//! The page's three functions are at fixed addresses (`arch/x86/include/uapi/asm/vsyscall.h`). glibc up to 2.14 calls them by
//! `mov $address, %rax; call *%rax`, Go up to 1.15 through pointers in its data if it finds no vDSO.

use goblin::elf::program_header::{PF_X, PT_LOAD};
use serde::{Deserialize, Serialize};

use super::{
    image::{Image, Source},
    search::{AROUND, search},
};

/// Most places that are kept of a file; the rest is counted.
const MAX_SITES: usize = 4096;
/// The middle of all three addresses, as they are written.
const MARK: [u8; 2] = [0x60, 0xff];

/// A function of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Function {
    /// `gettimeofday`, at 0xffffffffff600000.
    Gettimeofday,
    /// `time`, 0x400 beyond it.
    Time,
    /// `getcpu`, 0x800 beyond it.
    Getcpu,
}

impl Function {
    fn at(byte: u8) -> Option<Self> {
        match byte {
            0x00 => Some(Function::Gettimeofday),
            0x04 => Some(Function::Time),
            0x08 => Some(Function::Getcpu),
            _ => None,
        }
    }
}

/// How a function of the page is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `mov $address, %rax; call *%rax`: nine bytes that a system call fits into.
    Call,
    /// `mov $address, %rax; jmp *%rax`: likewise.
    Jump,
    /// The address is loaded in another way: only who catches the fault can help.
    Other,
    /// A pointer in the data of a Go program, which it takes where it finds no vDSO.
    Pointer,
}

/// A place in a file that calls the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Site {
    /// Where the instructions, or the pointer, begin: bytes from the start of the file.
    pub offset: u64,
    /// What is called.
    pub function: Function,
    /// How.
    pub form: Form,
}

/// The places in an x86-64 file, in their order; `go`: it is a Go program.
pub(super) fn sites<S: Source + ?Sized>(image: &Image<'_, S>, go: bool) -> Vec<Site> {
    let mut found = Vec::new();
    if !image.machine().is_x86_64() {
        return found;
    }
    for segment in image.of_kind(PT_LOAD) {
        let kind = if segment.p_flags & PF_X != 0 { code } else { pointer };
        if segment.p_flags & PF_X != 0 || go {
            search(image, segment, &MARK, |window, at| {
                if found.len() < MAX_SITES {
                    found.extend(kind(window, at));
                }
            });
        }
    }
    found.sort_by_key(|site| site.offset);
    // Segments may overlap.
    found.dedup();
    found
}

/// Whether the mark in executable bytes is of an instruction that loads an address of the page.
fn code(window: &[u8; 2 * AROUND], place: u64) -> Option<Site> {
    let (before, after) = window.split_at(AROUND);
    let [.., rex, opcode, register, 0, byte] = *before else { return None };
    let function = Function::at(byte)?;
    // movabs $address, %register: two bytes, and eight of the address.
    if opcode & 0xfe == 0x48 && register & 0xf8 == 0xb8 && after[2..6] == [0xff; 4] {
        return Some(Site { offset: place.checked_sub(4)?, function, form: Form::Other });
    }
    // mov $address, %register, of four bytes that are extended by their sign.
    if !(matches!(rex, 0x48 | 0x49) && opcode == 0xc7 && register & 0xf8 == 0xc0) {
        return None;
    }
    let form = match (rex, register, after[2], after[3]) {
        (0x48, 0xc0, 0xff, 0xd0) => Form::Call,
        (0x48, 0xc0, 0xff, 0xe0) => Form::Jump,
        _ => Form::Other,
    };
    Some(Site { offset: place.checked_sub(5)?, function, form })
}

/// Whether the mark in data is of a pointer to the page.
fn pointer(window: &[u8; 2 * AROUND], place: u64) -> Option<Site> {
    let (before, after) = window.split_at(AROUND);
    let [.., 0, byte] = *before else { return None };
    let function = Function::at(byte)?;
    let offset = place.checked_sub(2)?;
    (after[2..6] == [0xff; 4] && offset.is_multiple_of(8)).then_some(Site {
        offset,
        function,
        form: Form::Pointer,
    })
}
