//! What an ELF file wants of the machine that runs it.
//!
//! Reads the header, the program headers and the name of the interpreter, each with a bound, and nothing else:
//! the file comes from a root nobody has vouched for. Never panics, whatever the file holds.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
};

use goblin::{
    container::{Container, Ctx},
    elf::{
        Elf,
        header::{EM_386, EM_AARCH64, EM_ARM, EM_X86_64, ET_DYN, ET_EXEC, Header, machine_to_str},
        program_header::{PT_INTERP, ProgramHeader},
    },
};
use serde::Serialize;

/// Largest table of program headers the kernel reads, in bytes (`load_elf_phdrs`).
const MAX_HEADERS: usize = 65536;
/// Longest name of an interpreter the kernel takes, with its NUL (`PATH_MAX`).
const MAX_INTERPRETER: u64 = 4096;
/// Bytes of the larger of the two headers.
const HEADER: u64 = 64;

/// What an ELF file wants of the machine that runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Program {
    /// Kind of machine.
    pub machine: Machine,
    /// Its loader (`PT_INTERP`) as written in the file, not escaped; none if it is linked statically.
    pub interpreter: Option<String>,
}

/// A kind of machine: `e_machine` of the file and the width of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// `e_machine`, elf(5).
    pub number: u16,
    /// 32 or 64.
    pub bits: u8,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
}

/// Machines this host's processor and kernel run.
#[cfg(target_arch = "x86_64")]
const HOST: [Machine; 2] = [Machine::little(EM_X86_64, 64), Machine::little(EM_386, 32)];
/// Machines this host's processor and kernel run.
#[cfg(target_arch = "aarch64")]
const HOST: [Machine; 2] = [Machine::little(EM_AARCH64, 64), Machine::little(EM_ARM, 32)];

impl Machine {
    const fn little(number: u16, bits: u8) -> Machine {
        Machine { number, bits, big_endian: false }
    }

    /// Whether a program for it runs here without emulation. (x32, which is `EM_X86_64` with 32 bits, does not: the
    /// filter answers ENOSYS to its calls.)
    pub fn runs_here(self) -> bool {
        HOST.contains(&self)
    }

    /// What runs here, for a person.
    pub fn host() -> String {
        HOST.map(|machine| machine.to_string()).join(" and ")
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number, self.bits) {
            (EM_X86_64, 64) => f.write_str("x86-64"),
            (EM_X86_64, _) => f.write_str("x32"),
            (EM_386, _) => f.write_str("32-bit x86"),
            (EM_AARCH64, _) => f.write_str("64-bit arm"),
            (EM_ARM, _) => f.write_str("32-bit arm"),
            (number, bits) => write!(f, "{}-bit {} (machine {number})", bits, machine_to_str(number)),
        }?;
        if self.big_endian { f.write_str(", big-endian") } else { Ok(()) }
    }
}

/// Why a file is no ELF program.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It does not begin like one.
    #[error("it is no ELF file")]
    NotElf,
    /// It begins like one, and then is not.
    #[error("its ELF {0}")]
    Malformed(&'static str),
}

/// Reads what a program wants of its machine. Only what can be started is a program, not an object file.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Program, ElfError> {
    let start = bytes(file, 0, HEADER)?;
    if !start.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    let header = Elf::parse_header(&start).map_err(|_| ElfError::Malformed("header is broken or cut off"))?;
    let elf = Elf::lazy_parse(header).map_err(|_| ElfError::Malformed("header is broken"))?;
    if ![ET_EXEC, ET_DYN].contains(&header.e_type) {
        return Err(ElfError::Malformed("type is not that of a program"));
    }
    let machine = Machine {
        number: header.e_machine,
        bits: if elf.is_64 { 64 } else { 32 },
        big_endian: !elf.little_endian,
    };
    let interpreter = interpreter(file, &header, context(&elf))?;
    Ok(Program { machine, interpreter })
}

fn context(elf: &Elf<'_>) -> Ctx {
    let container = if elf.is_64 { Container::Big } else { Container::Little };
    let endian =
        if elf.little_endian { goblin::container::Endian::Little } else { goblin::container::Endian::Big };
    Ctx::new(container, endian)
}

fn interpreter(
    file: &mut (impl Read + Seek),
    header: &Header,
    context: Ctx,
) -> Result<Option<String>, ElfError> {
    let count = usize::from(header.e_phnum);
    let size = count * ProgramHeader::size(context);
    if size > MAX_HEADERS || usize::from(header.e_phentsize) != ProgramHeader::size(context) {
        return Err(ElfError::Malformed("program headers have an impossible size"));
    }
    let table = bytes(file, header.e_phoff, size as u64)?;
    let headers = ProgramHeader::parse(&table, 0, count, context)
        .map_err(|_| ElfError::Malformed("program headers are cut off"))?;
    let Some(place) = headers.iter().find(|h| h.p_type == PT_INTERP) else { return Ok(None) };
    if !(2..=MAX_INTERPRETER).contains(&place.p_filesz) {
        return Err(ElfError::Malformed("interpreter has an impossible length"));
    }
    let name = bytes(file, place.p_offset, place.p_filesz)?;
    match name.split_last() {
        Some((0, name)) if name.len() as u64 + 1 == place.p_filesz && !name.contains(&0) => {
            let name =
                std::str::from_utf8(name).map_err(|_| ElfError::Malformed("interpreter is no text"))?;
            Ok(Some(name.to_owned()))
        }
        _ => Err(ElfError::Malformed("interpreter is cut off")),
    }
}

/// Up to `count` bytes from a place; fewer where the file ends.
fn bytes(file: &mut (impl Read + Seek), from: u64, count: u64) -> Result<Vec<u8>, ElfError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from)).map_err(|_| ElfError::Malformed("points outside of the file"))?;
    file.take(count).read_to_end(&mut bytes).map_err(ElfError::Read)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// This test's own program.
    fn own() -> Vec<u8> {
        let mut bytes = Vec::new();
        std::fs::File::open(std::env::current_exe().unwrap())
            .unwrap()
            .take(64 * 1024)
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Program, ElfError> {
        read(&mut Cursor::new(bytes))
    }

    fn word(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    #[test]
    fn its_own_program_runs_here() {
        let program = parse(&own()).unwrap();
        assert!(program.machine.runs_here(), "{}", program.machine);
        assert!(program.interpreter.unwrap().contains("/ld-"));
    }

    #[test]
    fn another_machine_is_named() {
        let mut bytes = own();
        word(&mut bytes, 18, &22u16.to_le_bytes());
        let program = parse(&bytes).unwrap();
        assert!(!program.machine.runs_here());
        assert_eq!(program.machine.to_string(), "64-bit S390 (machine 22)");
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused() {
        let reason = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert_eq!(reason(b"#!/bin/sh"), "it is no ELF file");
        assert_eq!(reason(b"\x7fELF\x02\x01"), "its ELF header is broken or cut off");
        let broken = |at, value: &[u8]| {
            let mut bytes = own();
            word(&mut bytes, at, value);
            reason(&bytes)
        };
        assert_eq!(broken(16, &1u16.to_le_bytes()), "its ELF type is not that of a program");
        assert_eq!(broken(56, &u16::MAX.to_le_bytes()), "its ELF program headers have an impossible size");
        assert_eq!(broken(32, &u64::MAX.to_le_bytes()), "its ELF program headers are cut off");
        assert_eq!(broken(32, &(1u64 << 40).to_le_bytes()), "its ELF program headers are cut off");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), elf in any::<bool>()) {
            let mut bytes = bytes;
            if elf && bytes.len() > 6 {
                word(&mut bytes, 0, b"\x7fELF");
                bytes[4] %= 3;
                bytes[5] %= 3;
            }
            let _ = parse(&bytes);
        }

        #[test]
        fn damaged_programs_never_panic(at in 0usize..1024, value in any::<[u8; 8]>(), length in 0usize..4096) {
            let mut bytes = own();
            word(&mut bytes, at, &value);
            let _ = parse(&bytes);
            let _ = parse(&bytes[..length]);
        }
    }
}
