//! The parts of an ELF file that say something of it, each read with a bound.

use std::{fs::File, io, os::unix::fs::FileExt};

use goblin::{
    container::{Container, Ctx, Endian},
    elf::{
        Elf,
        header::{ET_DYN, ET_EXEC, Header},
        program_header::{PT_LOAD, ProgramHeader},
    },
};

use super::{ElfError, Machine};

/// Largest table of program headers the kernel reads, in bytes (`load_elf_phdrs`).
const MAX_HEADERS: usize = 65536;
/// Bytes of the larger of the two headers.
const HEADER: u64 = 64;

/// What is read at places.
pub trait Source {
    /// Reads up to as many bytes as `into` has from a place on; 0 at the end.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Source for File {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, at)
    }
}

impl Source for [u8] {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let there = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }
}

/// An ELF file that can be started or loaded, header and program headers read.
pub(super) struct Image<'f, S: ?Sized> {
    source: &'f S,
    pub(super) header: Header,
    pub(super) context: Ctx,
    pub(super) segments: Vec<ProgramHeader>,
}

impl<'f, S: Source + ?Sized> Image<'f, S> {
    pub(super) fn open(source: &'f S) -> Result<Self, ElfError> {
        let start = bytes(source, 0, HEADER)?;
        if !start.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let header =
            Elf::parse_header(&start).map_err(|_| ElfError::Malformed("header is broken or cut off"))?;
        let elf = Elf::lazy_parse(header).map_err(|_| ElfError::Malformed("header is broken"))?;
        if ![ET_EXEC, ET_DYN].contains(&header.e_type) {
            return Err(ElfError::NotLoadable);
        }
        let container = if elf.is_64 { Container::Big } else { Container::Little };
        let endian = if elf.little_endian { Endian::Little } else { Endian::Big };
        let context = Ctx::new(container, endian);
        let segments = segments(source, &header, context)?;
        Ok(Self { source, header, context, segments })
    }

    pub(super) fn machine(&self) -> Machine {
        Machine {
            number: self.header.e_machine,
            bits: if self.context.is_big() { 64 } else { 32 },
            big_endian: !self.context.is_little_endian(),
        }
    }

    /// The program headers of a kind.
    pub(super) fn of_kind(&self, kind: u32) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(move |segment| segment.p_type == kind)
    }

    /// Up to `count` bytes from a place in the file; fewer where it ends.
    pub(super) fn bytes(&self, from: u64, count: u64) -> Result<Vec<u8>, ElfError> {
        bytes(self.source, from, count)
    }

    /// Reads from a place until `into` is full; fewer bytes where the file ends.
    pub(super) fn fill(&self, into: &mut [u8], from: u64) -> io::Result<usize> {
        fill(self.source, into, from)
    }

    /// What the file has for up to `count` bytes from an address; none if no segment holds it.
    pub(super) fn at(&self, address: u64, count: u64) -> Option<Vec<u8>> {
        let place = self.of_kind(PT_LOAD).find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr).filter(|within| *within < segment.p_filesz)?;
            Some((segment.p_offset.checked_add(within)?, segment.p_filesz - within))
        });
        let (from, there) = place?;
        self.bytes(from, count.min(there)).ok()
    }

    /// The number of an address' width that bytes begin with.
    pub(super) fn address(&self, bytes: &[u8]) -> Option<u64> {
        let little = self.context.is_little_endian();
        if self.context.is_big() {
            let bytes = *bytes.first_chunk()?;
            Some(if little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
        } else {
            self.word(bytes).map(u64::from)
        }
    }

    /// The number of four bytes that bytes begin with.
    pub(super) fn word(&self, bytes: &[u8]) -> Option<u32> {
        let bytes = *bytes.first_chunk()?;
        Some(if self.context.is_little_endian() {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }
}

fn segments<S: Source + ?Sized>(
    source: &S,
    header: &Header,
    context: Ctx,
) -> Result<Vec<ProgramHeader>, ElfError> {
    let count = usize::from(header.e_phnum);
    let size = count * ProgramHeader::size(context);
    if size > MAX_HEADERS || usize::from(header.e_phentsize) != ProgramHeader::size(context) {
        return Err(ElfError::Malformed("program headers have an impossible size"));
    }
    let table = bytes(source, header.e_phoff, size as u64)?;
    ProgramHeader::parse(&table, 0, count, context)
        .map_err(|_| ElfError::Malformed("program headers are cut off"))
}

fn bytes<S: Source + ?Sized>(source: &S, from: u64, count: u64) -> Result<Vec<u8>, ElfError> {
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX).min(MAX_PIECE)];
    let read = fill(source, &mut bytes, from).map_err(ElfError::Read)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Most that is read at once, bytes.
const MAX_PIECE: usize = 1024 * 1024;

fn fill<S: Source + ?Sized>(source: &S, into: &mut [u8], from: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        // Beyond what the kernel counts there is nothing.
        let Some(at) = from.checked_add(filled as u64).filter(|at| i64::try_from(*at).is_ok()) else { break };
        match source.read_at(&mut into[filled..], at) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
