//! Marks in the parts of a file that are loaded.

use goblin::elf::program_header::ProgramHeader;
use memchr::memmem;

use super::image::{Image, Source};

/// How much is looked through at once, bytes.
const PIECE: usize = 256 * 1024;
/// Bytes before a mark, and from its beginning on, that tell what it is.
pub(super) const AROUND: usize = 8;

/// Calls `hit` with [`AROUND`] bytes before each mark and as many from its beginning on, and the mark's place in the file. A mark is
/// no longer than that.
pub(super) fn search<S: Source + ?Sized>(
    image: &Image<'_, S>,
    segment: &ProgramHeader,
    mark: &[u8],
    mut hit: impl FnMut(&[u8; 2 * AROUND], u64),
) {
    let (finder, from, size) = (memmem::Finder::new(mark), segment.p_offset, segment.p_filesz);
    // What was read is kept between bytes that are of no file, or of the piece before.
    let mut buffer = vec![0; PIECE + 2 * AROUND];
    let mut passed = 0;
    while passed < size {
        let count = usize::try_from(size - passed).unwrap_or(usize::MAX).min(PIECE);
        let Some(place) = from.checked_add(passed) else { return };
        let Ok(read) = image.fill(&mut buffer[2 * AROUND..2 * AROUND + count], place) else { return };
        let last = read < count || passed + read as u64 == size;
        let end = 2 * AROUND + read;
        if last {
            // As many as would be looked at around the last, of nothing.
            buffer.resize(end, 0);
            buffer.extend([0; AROUND]);
        }
        // A mark is looked at when all that is around it is there.
        let within = if last { end } else { end - AROUND + mark.len() - 1 };
        for at in finder.find_iter(&buffer[AROUND..within]).map(|at| at + AROUND) {
            let around = at.checked_sub(AROUND).and_then(|first| buffer.get(first..)?.first_chunk());
            if let Some(around) = around
                && let Some(place) = (place + at as u64).checked_sub(2 * AROUND as u64)
            {
                hit(around, place);
            }
        }
        if last {
            return;
        }
        buffer.copy_within(end - 2 * AROUND..end, 0);
        passed += read as u64;
    }
}
