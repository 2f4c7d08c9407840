//! The object with the programs, as the build script embedded it.

use sha2::{Digest, Sha256};
use zone_ebpf_abi::{LAYOUT, names::global};

use super::EbpfError;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/zone-ebpf.o"));

/// The embedded object.
///
/// # Errors
/// [`EbpfError::Stub`] if zoned was built without it, [`EbpfError::Object`] if it was built with another layout.
pub(super) fn embedded() -> Result<&'static [u8], EbpfError> {
    if OBJECT.is_empty() {
        return Err(EbpfError::Stub);
    }
    match layout_of(OBJECT) {
        Some(LAYOUT) => Ok(OBJECT),
        Some(other) => Err(EbpfError::Object {
            what: format!("has maps of layout {other}, zoned speaks layout {LAYOUT}"),
        }),
        None => Err(EbpfError::Object { what: format!("does not say its layout ({})", global::LAYOUT) }),
    }
}

/// What programs made from the object are told apart by.
pub(super) fn build(object: &[u8], level: u32) -> [u8; 32] {
    Sha256::new().chain_update(object).chain_update(level.to_ne_bytes()).finalize().into()
}

/// The value of the constant that says the layout: a symbol in a section of the object.
fn layout_of(object: &[u8]) -> Option<u32> {
    let elf = goblin::elf::Elf::parse(object).ok()?;
    let symbol = elf.syms.iter().find(|s| elf.strtab.get_at(s.st_name) == Some(global::LAYOUT))?;
    let section = elf.section_headers.get(symbol.st_shndx)?;
    let at = usize::try_from(section.sh_offset.checked_add(symbol.st_value)?).ok()?;
    Some(u32::from_ne_bytes(object.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_object_is_a_stub_or_of_our_layout() {
        assert!(matches!(embedded(), Ok(_) | Err(EbpfError::Stub)));
    }

    #[test]
    fn what_is_not_an_object_has_no_layout() {
        assert_eq!(layout_of(b""), None);
        assert_eq!(layout_of(&[0x7f; 4096]), None);
    }

    #[test]
    fn builds_differ_by_object_and_by_level() {
        assert_ne!(build(b"a", 2), build(b"b", 2));
        assert_ne!(build(b"a", 2), build(b"a", 3));
        assert_eq!(build(b"a", 2), build(b"a", 2));
    }
}
