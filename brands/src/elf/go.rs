//! Which Go made a program (`debug/buildinfo` of Go's own library has the format).

use goblin::elf::program_header::{PF_W, PT_LOAD};
use memchr::memmem;

use super::{
    image::{Image, Source},
    search::{AROUND, search},
};

/// What the table of functions begins with (`internal/abi.PCLnTabMagic`) after its first byte: two zeros, the length of an
/// instruction and of a pointer on x86-64.
const TABLE: [u8; 7] = [0xff, 0xff, 0xff, 0, 0, 1, 8];
/// The first byte, which says how it is laid out.
const TABLES: [(u8, &str); 4] = [
    (0xfb, "go1.15 or older"),
    (0xfa, "go1.16 or go1.17"),
    (0xf0, "go1.18 or go1.19"),
    (0xf1, "go1.20 or newer"),
];

/// What the record begins with, since Go 1.13.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Bytes in which the record begins, as Go's own reader has it.
const MAX_SEARCH: u64 = 64 * 1024;
/// Longest version, bytes.
const MAX_VERSION: u64 = 64;

/// Its version by the table that its functions are found by, of a program whose record and note were left out.
pub(super) fn by_table<S: Source + ?Sized>(image: &Image<'_, S>) -> Option<String> {
    let mut found = None;
    for segment in image.of_kind(PT_LOAD) {
        search(image, segment, &TABLE, |window, _| {
            let version = TABLES.iter().find(|(first, _)| *first == window[AROUND - 1]);
            found = found.or(version.map(|(_, version)| *version));
        });
    }
    found.map(str::to_owned)
}

/// Its version, as `go1.15.2`.
pub(super) fn version<S: Source + ?Sized>(image: &Image<'_, S>) -> Option<String> {
    let writable = image.of_kind(PT_LOAD).filter(|segment| segment.p_flags & PF_W != 0);
    let mut starts = writable.map(|segment| (segment.p_offset, segment.p_filesz.min(MAX_SEARCH)));
    starts.find_map(|(from, size)| in_record(image, &image.bytes(from, size).ok()?))
}

fn in_record<S: Source + ?Sized>(image: &Image<'_, S>, data: &[u8]) -> Option<String> {
    let at = memmem::find_iter(data, MAGIC).find(|at| at.is_multiple_of(16))?;
    let record = &data[at..];
    let text = if record.get(15)? & 2 != 0 {
        // Since Go 1.18 it is in the record: its length, which is less than 128, and the text.
        let length = usize::from(*record.get(32)?);
        record.get(33..)?.get(..length)?.to_vec()
    } else {
        let string = image.at(image.address(record.get(16..)?)?, 16)?;
        let width = if image.context.is_big() { 8 } else { 4 };
        let length = image.address(string.get(width..)?)?;
        image.at(image.address(&string)?, length.min(MAX_VERSION))?
    };
    let text = String::from_utf8(text).ok()?;
    text.starts_with("go1").then_some(text)
}
