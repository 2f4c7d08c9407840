//! Notes: the oldest kernel, the processor's level, what made the file.

use goblin::elf::{note::NoteDataIterator, program_header::PT_NOTE};

use super::{
    Level, Release, System,
    image::{Image, Source},
};

/// Most of a segment of notes that is read, bytes: real ones have some hundreds.
const MAX_NOTES: u64 = 64 * 1024;
/// Most notes that are looked at.
const MAX_COUNT: usize = 256;

/// `NT_GNU_ABI_TAG`, `NT_GNU_PROPERTY_TYPE_0` of the System V ABI's Linux extensions.
const ABI_TAG: u32 = 1;
const PROPERTY: u32 = 5;
/// `GNU_PROPERTY_X86_ISA_1_NEEDED`: of the levels of the x86-64 ABI, a bit each.
const ISA_NEEDED: u32 = 0xc000_8002;
/// Go's `ELF_NOTE_GOBUILDID_TAG`.
const GO_BUILD_ID: u32 = 4;

/// What a file's notes say.
#[derive(Default)]
pub(super) struct Notes {
    /// The system and its oldest kernel (`.note.ABI-tag`).
    pub(super) tag: Option<(System, Release)>,
    pub(super) level: Option<Level>,
    pub(super) go: bool,
    pub(super) android: bool,
}

pub(super) fn read<S: Source + ?Sized>(image: &Image<'_, S>) -> Notes {
    let mut found = Notes::default();
    for segment in image.of_kind(PT_NOTE) {
        let Ok(data) = image.bytes(segment.p_offset, segment.p_filesz.min(MAX_NOTES)) else { continue };
        let alignment = if segment.p_align == 8 { 8 } else { 4 };
        let notes =
            NoteDataIterator { data: &data, size: data.len(), offset: 0, ctx: (alignment, image.context) };
        for note in notes.take(MAX_COUNT).map_while(Result::ok) {
            match (note.name, note.n_type) {
                ("GNU", ABI_TAG) => found.tag = tag(image, note.desc).or(found.tag),
                ("GNU", PROPERTY) => found.level = level(image, note.desc).or(found.level),
                ("Go", GO_BUILD_ID) => found.go = true,
                ("Android", _) => found.android = true,
                _ => {}
            }
        }
    }
    found
}

fn tag<S: Source + ?Sized>(image: &Image<'_, S>, text: &[u8]) -> Option<(System, Release)> {
    let word = |at: usize| image.word(text.get(at..)?);
    let system = match word(0)? {
        0 => System::Linux,
        1 => System::Hurd,
        2 => System::Solaris,
        3 => System::FreeBsd,
        4 => System::NetBsd,
        _ => System::Other,
    };
    Some((system, Release([word(4)?, word(8)?, word(12)?])))
}

/// Goes through an array of properties: type, length, value, padded to an address.
fn level<S: Source + ?Sized>(image: &Image<'_, S>, mut left: &[u8]) -> Option<Level> {
    let width = if image.context.is_big() { 8 } else { 4 };
    loop {
        let (kind, length) = (image.word(left)?, image.word(left.get(4..)?)?);
        let length = usize::try_from(length).ok()?;
        let value = left.get(8..)?.get(..length)?;
        if kind == ISA_NEEDED {
            return Level::newest_of(image.word(value)?);
        }
        left = left.get(8 + length.checked_next_multiple_of(width)?..)?;
    }
}
