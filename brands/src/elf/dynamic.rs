//! What the loader is told: the libraries and their versions that a file wants.

use goblin::elf::{
    dynamic::{DF_1_PIE, DT_NEEDED, DT_SONAME, Dynamic},
    program_header::{PT_DYNAMIC, PT_LOAD, ProgramHeader},
    section_header::{SHT_GNU_VERNEED, SectionHeader},
    symver::VerneedSection,
};

use super::{
    Release,
    image::{Image, Source},
};

/// Most of a table that is read, bytes: the largest known programs' have some tens of thousands.
const MAX_TABLE: u64 = 128 * 1024;
/// Longest name of a library or a version, bytes.
const MAX_NAME: u64 = 256;
/// Most libraries, and versions altogether, that are looked at.
const MAX_WANTED: usize = 1024;

/// What a file's dynamic section says.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) dynamic: bool,
    pub(super) libraries: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) glibc: Option<Release>,
    pub(super) pie: bool,
}

pub(super) fn read<S: Source + ?Sized>(image: &Image<'_, S>) -> Option<Wanted> {
    let segment = image.of_kind(PT_DYNAMIC).next()?;
    let table = image.bytes(segment.p_offset, segment.p_filesz.min(MAX_TABLE)).ok()?;
    // The table alone is there, and what is loaded is needed to tell places of addresses.
    let own = ProgramHeader { p_offset: 0, p_filesz: table.len() as u64, ..segment.clone() };
    let headers: Vec<_> = image.of_kind(PT_LOAD).cloned().chain([own]).collect();
    let dynamic = Dynamic::parse(&table, &headers, image.context).ok()??;
    let names = Names { image, at: dynamic.info.strtab as u64, size: dynamic.info.strsz as u64 };
    let of_tag = |tag| dynamic.dyns.iter().filter(move |entry| entry.d_tag == tag).map(|entry| entry.d_val);
    Some(Wanted {
        dynamic: true,
        libraries: of_tag(DT_NEEDED).take(MAX_WANTED).filter_map(|at| names.get(at)).collect(),
        name: of_tag(DT_SONAME).next().and_then(|at| names.get(at)),
        glibc: newest_glibc(image, &dynamic, &names),
        pie: dynamic.info.flags_1 & DF_1_PIE != 0,
    })
}

/// Names by their places in the string table.
struct Names<'i, 'f, S: ?Sized> {
    image: &'i Image<'f, S>,
    at: u64,
    size: u64,
}

impl<S: Source + ?Sized> Names<'_, '_, S> {
    fn get(&self, at: u64) -> Option<String> {
        let left = self.size.checked_sub(at)?;
        let text = self.image.bytes(self.at.checked_add(at)?, left.min(MAX_NAME)).ok()?;
        let end = text.iter().position(|byte| *byte == 0)?;
        String::from_utf8(text[..end].to_vec()).ok()
    }
}

/// The newest version of glibc's symbols that is wanted.
fn newest_glibc<S: Source + ?Sized>(
    image: &Image<'_, S>,
    dynamic: &Dynamic,
    names: &Names<'_, '_, S>,
) -> Option<Release> {
    let count = u32::try_from(dynamic.info.verneednum).ok()?;
    let table = image.bytes(dynamic.info.verneed, MAX_TABLE).ok()?;
    let header = SectionHeader {
        sh_type: SHT_GNU_VERNEED,
        sh_size: table.len() as u64,
        sh_info: count.min(MAX_WANTED as u32),
        ..SectionHeader::default()
    };
    let section = VerneedSection::parse(&table, &[header], image.context).ok()??;
    let wanted =
        section.iter().flat_map(|library| library.iter().map(|version| version.vna_name).collect::<Vec<_>>());
    wanted.take(MAX_WANTED).filter_map(|at| names.get(at as u64)).filter_map(|name| glibc(&name)).max()
}

/// The release that a version of glibc's symbols came with.
fn glibc(version: &str) -> Option<Release> {
    match version.strip_prefix("GLIBC_")? {
        // Relative relocations packed, which is no symbol's version.
        "ABI_DT_RELR" => Some(Release([2, 36, 0])),
        release => Release::parse(release),
    }
}
