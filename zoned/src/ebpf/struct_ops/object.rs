//! What is in an object: programs, other functions, and what their instructions refer to.

use goblin::elf::{
    Elf, Sym,
    section_header::{SHF_EXECINSTR, SHT_REL},
    sym::{STT_FUNC, STT_SECTION},
};

const PLAIN: &str = "struct_ops/";
const SLEEPABLE: &str = "struct_ops.s/";

/// Bytes of an instruction.
pub(super) const INSTRUCTION: u64 = 8;

/// `BPF_JMP | BPF_CALL`.
pub(super) const CALL: u8 = 0x85;

/// The immediate value of an instruction.
pub(super) fn immediate(instruction: [u8; 8]) -> i32 {
    let [.., a, b, c, d] = instruction;
    i32::from_ne_bytes([a, b, c, d])
}

/// A program that implements a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'a> {
    pub(super) member: &'a str,
    pub(super) sleepable: bool,
    pub(super) function: Function,
}

/// Where the instructions of a function are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Index of the section.
    pub(super) section: usize,
    /// Byte in it at which the function begins.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// Something that the kernel has.
    Extern(&'a str),
    /// Code of this object, at that byte of a section.
    Code {
        /// Index of the section.
        section: usize,
        /// Byte in it.
        at: u64,
    },
    /// A map.
    Map(&'a str),
    /// A byte of a section of global data.
    Data {
        /// Name of the section.
        section: &'a str,
        /// Byte in it.
        at: u64,
    },
}

/// A parsed object.
pub(super) struct Object<'a> {
    elf: Elf<'a>,
    bytes: &'a [u8],
}

impl<'a> Object<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let elf = Elf::parse(bytes).map_err(|e| format!("is no ELF object: {e}"))?;
        Ok(Object { elf, bytes })
    }

    /// Every program, in the order of the sections.
    pub(super) fn programs(&self) -> impl Iterator<Item = Program<'_>> {
        (0..self.elf.section_headers.len()).filter_map(|section| {
            let name = self.section_name(section)?;
            let plain = name.strip_prefix(PLAIN).map(|member| (member, false));
            let (member, sleepable) =
                plain.or_else(|| name.strip_prefix(SLEEPABLE).map(|member| (member, true)))?;
            Some(Program { member, sleepable, function: self.function_at(section, 0)? })
        })
    }

    /// Names of all that the object wants of the kernel.
    pub(super) fn externs(&self) -> Vec<&str> {
        let wanted = self.elf.syms.iter().filter(|s| s.st_shndx == 0);
        wanted.filter_map(|s| self.elf.strtab.get_at(s.st_name)).filter(|name| !name.is_empty()).collect()
    }

    /// The function that begins at a byte of a section.
    pub(super) fn function_at(&self, section: usize, start: u64) -> Option<Function> {
        let begins = |s: &Sym| s.st_type() == STT_FUNC && s.st_shndx == section && s.st_value == start;
        let symbol = self.elf.syms.iter().find(begins)?;
        Some(Function { section, start, bytes: symbol.st_size })
    }

    /// The instructions of a function.
    pub(super) fn code(&self, function: Function) -> Option<Vec<[u8; 8]>> {
        let header = self.elf.section_headers.get(function.section)?;
        let from = usize::try_from(header.sh_offset.checked_add(function.start)?).ok()?;
        let code = self.bytes.get(from..from.checked_add(usize::try_from(function.bytes).ok()?)?)?;
        Some(code.as_chunks().0.to_vec())
    }

    /// What instructions of a function refer to, each with its index in the function. What the compiler wrote there says
    /// where in the section that is.
    pub(super) fn references(
        &self,
        function: Function,
        instruction: impl Fn(usize) -> [u8; 8],
    ) -> Result<Vec<(usize, Target<'_>)>, String> {
        let of_section = |(table, _): &(usize, _)| {
            let header = self.elf.section_headers.get(*table);
            header.is_some_and(|h| h.sh_type == SHT_REL && h.sh_info as usize == function.section)
        };
        let all = self.elf.shdr_relocs.iter().filter(|r| of_section(r)).flat_map(|(_, table)| table.iter());
        let mut found = Vec::new();
        for relocation in all {
            let Some(at) = relocation.r_offset.checked_sub(function.start) else { continue };
            if at >= function.bytes {
                continue;
            }
            let index = (at / INSTRUCTION) as usize;
            let symbol = self.elf.syms.get(relocation.r_sym).ok_or("a relocation has no symbol")?;
            found.push((index, self.target(&symbol, instruction(index))?));
        }
        Ok(found)
    }

    fn target(&self, symbol: &Sym, instruction: [u8; 8]) -> Result<Target<'_>, String> {
        let name = self.elf.strtab.get_at(symbol.st_name).unwrap_or_default();
        if symbol.st_shndx == 0 {
            return Ok(Target::Extern(name));
        }
        let section = self.section_name(symbol.st_shndx).unwrap_or_default();
        let header = self.elf.section_headers.get(symbol.st_shndx);
        let addend = i64::from(immediate(instruction));
        if header.is_some_and(|h| h.sh_flags & u64::from(SHF_EXECINSTR) != 0) {
            // A call says how many instructions ahead of the next one; of a function that has a symbol, nothing.
            let within = match (symbol.st_type() == STT_SECTION, instruction[0] == CALL) {
                (true, true) => (addend + 1) * INSTRUCTION as i64,
                (true, false) => addend,
                (false, _) => 0,
            };
            return Ok(Target::Code {
                section: symbol.st_shndx,
                at: symbol.st_value.wrapping_add(within as u64),
            });
        }
        match section {
            ".maps" | "maps" => Ok(Target::Map(name)),
            data if [".rodata", ".data", ".bss"].iter().any(|kind| data.starts_with(kind)) => {
                Ok(Target::Data { section: data, at: symbol.st_value.wrapping_add(addend as u64) })
            }
            other => Err(format!("refers to {name:?} in section {other:?}, which is neither code nor data")),
        }
    }

    fn section_name(&self, section: usize) -> Option<&str> {
        self.elf.shdr_strtab.get_at(self.elf.section_headers.get(section)?.sh_name)
    }
}

/// The object as aya takes it, which refuses sections of programs that it does not know: there they are no code.
pub(in super::super) fn without_programs(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let object = Object::parse(bytes)?;
    let mut stripped = bytes.to_vec();
    let header = object.elf.header;
    for section in 0..object.elf.section_headers.len() {
        let name = object.section_name(section).unwrap_or_default();
        if !name.starts_with(PLAIN) && !name.starts_with(SLEEPABLE) {
            continue;
        }
        // `sh_flags` of a 64-bit section header.
        let at = header.e_shoff as usize + section * usize::from(header.e_shentsize) + 8;
        let flags = stripped.get_mut(at..at + 8).ok_or("its table of sections is cut off")?;
        flags.fill(0);
    }
    Ok(stripped)
}
