//! As much of BTF as is needed to find fields: offsets in the kernel's structures, and the meaning of maps that
//! programs of another layout left behind.
//!
//! aya reads BTF too, but keeps members to itself. Format: the kernel's `Documentation/bpf/btf.rst`. Everything read
//! here comes from the kernel; a blob that does not add up is an error, never a wrong number.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const ENUM64: u32 = 19;

/// Longest chain of typedefs and qualifiers, and deepest nesting of anonymous members, that is followed.
const DEPTH: usize = 32;

/// Why something was not found in BTF.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The blob is cut off, or of a kind that is not known.
    #[error("BTF: malformed at byte {0}")]
    Malformed(usize),
    /// There is no such type.
    #[error("BTF: this kernel has no {0}")]
    NoType(String),
    /// The type has no such field.
    #[error("BTF: {0} has no field {1} on this kernel")]
    NoField(String, String),
}

/// One type: where its description begins, and the fields that all kinds have.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    info: u32,
    /// Of a sized kind the size in bytes, of a reference the type that is referred to.
    size_or_type: u32,
}

impl Type {
    fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }
}

/// Where a field is: bytes from the start of the structure, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) offset: u32,
    pub(super) type_id: u32,
}

/// A named member of a structure itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Which one it is, counted from 0.
    pub(super) index: u32,
    pub(super) offset: u32,
    pub(super) type_id: u32,
}

/// A parsed blob.
pub(super) struct Btf {
    bytes: Vec<u8>,
    types: Vec<Type>,
    strings: usize,
    by_name: HashMap<(u32, String), u32>,
}

impl Btf {
    /// Structures and typedefs can be found by name at once; functions, of which there are most, are searched for.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let mut btf = Btf { bytes, types: Vec::new(), strings: 0, by_name: HashMap::new() };
        if btf.u32(0)? as u16 != MAGIC {
            return Err(BtfError::Malformed(0));
        }
        let header = btf.u32(4)? as usize;
        let (types, types_len) = (header + btf.u32(8)? as usize, btf.u32(12)? as usize);
        btf.strings = header + btf.u32(16)? as usize;
        // Type 0 is void and not in the blob.
        btf.types.push(Type { at: 0, name: 0, info: 0, size_or_type: 0 });
        let mut at = types;
        while at < types + types_len {
            let t = Type { at, name: btf.u32(at)?, info: btf.u32(at + 4)?, size_or_type: btf.u32(at + 8)? };
            at += 12 + extra_bytes(t).ok_or(BtfError::Malformed(at))?;
            if matches!(t.kind(), STRUCT | TYPEDEF) {
                let name = btf.string(t.name)?.to_owned();
                btf.by_name.entry((t.kind(), name)).or_insert(btf.types.len() as u32);
            }
            btf.types.push(t);
        }
        Ok(btf)
    }

    /// Byte offset of a field, given as a dotted path from a structure of that name.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let mut type_id = self.structure(structure)?;
        let mut offset = 0;
        for name in path.split('.') {
            let field = self
                .field(type_id, name, DEPTH)?
                .ok_or_else(|| BtfError::NoField(structure.into(), path.into()))?;
            offset += field.offset;
            type_id = field.type_id;
        }
        Ok(offset)
    }

    /// Id of a structure.
    pub(super) fn structure(&self, name: &str) -> Result<u32, BtfError> {
        self.named(STRUCT, name, "struct")
    }

    /// Id of a function.
    pub(super) fn function(&self, name: &str) -> Result<u32, BtfError> {
        let id = self.functions(&[name])?.remove(name);
        id.ok_or_else(|| BtfError::NoType(format!("function {name}")))
    }

    /// Ids of those of the functions that there are, found in one go.
    pub(super) fn functions<'n>(&self, names: &[&'n str]) -> Result<HashMap<&'n str, u32>, BtfError> {
        let wanted: HashMap<&str, &'n str> = names.iter().map(|name| (*name, *name)).collect();
        let mut found = HashMap::new();
        for (id, t) in self.types.iter().enumerate().filter(|(_, t)| t.kind() == FUNC) {
            if let Some(name) = wanted.get(self.string(t.name)?) {
                found.insert(*name, id as u32);
            }
        }
        Ok(found)
    }

    /// Id of the typedef that a program on this tracepoint is attached by.
    pub(super) fn tracepoint(&self, name: &str) -> Result<u32, BtfError> {
        self.named(TYPEDEF, &format!("btf_trace_{name}"), "tracepoint")
    }

    /// Number of arguments that a program on this tracepoint gets.
    pub(super) fn tracepoint_arguments(&self, name: &str) -> Result<usize, BtfError> {
        let pointer = self.resolved(self.tracepoint(name)?)?;
        let prototype = self.resolved(pointer.size_or_type)?;
        if pointer.kind() != PTR || prototype.kind() != FUNC_PROTO {
            return Err(BtfError::NoType(format!("tracepoint {name}")));
        }
        // The first parameter is the tracepoint's own data pointer.
        Ok(prototype.count().saturating_sub(1))
    }

    /// A field of a structure or union by name, also in its anonymous members.
    pub(super) fn field(&self, type_id: u32, name: &str, depth: usize) -> Result<Option<Field>, BtfError> {
        let t = self.resolved(type_id)?;
        if !matches!(t.kind(), STRUCT | UNION) || depth == 0 {
            return Ok(None);
        }
        // With the kind flag the upper 8 bits of an offset are the size of a bit field.
        let bits = if t.info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        for at in (0..t.count()).map(|i| t.at + 12 + 12 * i) {
            let field = Field { offset: (self.u32(at + 8)? & bits) / 8, type_id: self.u32(at + 4)? };
            match self.string(self.u32(at)?)? {
                own if own == name => return Ok(Some(field)),
                "" => {
                    if let Some(inner) = self.field(field.type_id, name, depth - 1)? {
                        return Ok(Some(Field { offset: field.offset + inner.offset, ..inner }));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// A member of a structure by name.
    pub(super) fn member(&self, structure: u32, name: &str) -> Result<Member, BtfError> {
        let t = self.resolved(structure)?;
        let bits = if t.info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        for index in 0..t.count() {
            let at = t.at + 12 + 12 * index;
            if self.string(self.u32(at)?)? == name {
                let (offset, type_id) = ((self.u32(at + 8)? & bits) / 8, self.u32(at + 4)?);
                return Ok(Member { index: index as u32, offset, type_id });
            }
        }
        Err(BtfError::NoField(self.string(t.name)?.into(), name.into()))
    }

    /// Values of enumerators, of whichever enumerations they are, found in one go. All of them must be there.
    pub(super) fn enumerators(&self, names: &[&str]) -> Result<Vec<u64>, BtfError> {
        let mut found = HashMap::new();
        for t in self.types.iter().filter(|t| matches!(t.kind(), ENUM | ENUM64)) {
            let each = if t.kind() == ENUM { 8 } else { 12 };
            for at in (0..t.count()).map(|i| t.at + 12 + each * i) {
                let name = self.string(self.u32(at)?)?;
                if names.contains(&name) {
                    let high = if t.kind() == ENUM { 0 } else { self.u32(at + 8)? };
                    found.insert(name, u64::from(high) << 32 | u64::from(self.u32(at + 4)?));
                }
            }
        }
        let value = |name: &&str| {
            found.get(name).copied().ok_or_else(|| BtfError::NoType(format!("enumerator {name}")))
        };
        names.iter().map(value).collect()
    }

    /// Size of a value of that type, in bytes.
    pub(super) fn size(&self, type_id: u32) -> Result<usize, BtfError> {
        let t = self.resolved(type_id)?;
        match t.kind() {
            PTR => Ok(8),
            ARRAY => Ok(self.size(self.u32(t.at + 12)?)? * self.u32(t.at + 20)? as usize),
            INT | STRUCT | UNION | ENUM | ENUM64 => Ok(t.size_or_type as usize),
            _ => Err(BtfError::Malformed(t.at)),
        }
    }

    fn named(&self, kind: u32, name: &str, what: &str) -> Result<u32, BtfError> {
        let id = self.by_name.get(&(kind, name.to_owned()));
        id.copied().ok_or_else(|| BtfError::NoType(format!("{what} {name}")))
    }

    /// The type behind typedefs and qualifiers.
    fn resolved(&self, mut type_id: u32) -> Result<Type, BtfError> {
        for _ in 0..DEPTH {
            let t = *self.types.get(type_id as usize).ok_or(BtfError::Malformed(type_id as usize))?;
            // Typedef, volatile, const, restrict; type tag.
            if !matches!(t.kind(), 8..=11 | 18) {
                return Ok(t);
            }
            type_id = t.size_or_type;
        }
        Err(BtfError::Malformed(type_id as usize))
    }

    fn u32(&self, at: usize) -> Result<u32, BtfError> {
        let bytes = self.bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(BtfError::Malformed(at))
    }

    fn string(&self, offset: u32) -> Result<&str, BtfError> {
        let at = self.strings + offset as usize;
        let rest = self.bytes.get(at..).ok_or(BtfError::Malformed(at))?;
        let end = rest.iter().position(|b| *b == 0).ok_or(BtfError::Malformed(at))?;
        std::str::from_utf8(&rest[..end]).map_err(|_| BtfError::Malformed(at))
    }
}

/// Bytes that follow the 12 which every type has; `None` for a kind that is not known.
fn extra_bytes(t: Type) -> Option<usize> {
    Some(match t.kind() {
        // int; var; declaration tag
        1 | 14 | 17 => 4,
        // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=12 | 16 | 18 => 0,
        ARRAY => 12,
        // structure, union, data section, enum64
        4 | 5 | 15 | 19 => 12 * t.count(),
        // enum, function prototype
        6 | 13 => 8 * t.count(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob with `u32 a; struct { u64 b; union { u32 c[3]; } }` in a struct `s`, as a compiler would lay it out.
    fn blob() -> Vec<u8> {
        let strings = b"\0u32\0u64\0s\0a\0inner\0b\0c\0";
        let name = |s: &str| {
            let found =
                strings.windows(s.len() + 2).position(|w| w[0] == 0 && &w[1..=s.len()] == s.as_bytes());
            found.unwrap() as u32 + 1
        };
        let mut types: Vec<u32> = Vec::new();
        types.extend([name("u32"), INT << 24, 4, 32]);
        types.extend([name("u64"), INT << 24, 8, 64]);
        types.extend([0, ARRAY << 24, 0, 1, 1, 3]);
        types.extend([0, UNION << 24 | 1, 12, name("c"), 3, 0]);
        types.extend([name("inner"), STRUCT << 24 | 2, 24, name("b"), 2, 0, 0, 4, 64]);
        types.extend([name("s"), STRUCT << 24 | 2, 32, name("a"), 1, 0, name("inner"), 5, 64]);
        let len = types.len() as u32 * 4;
        let header = [MAGIC as u32 | 1 << 16, 24, 0, len, len, strings.len() as u32];
        let words = header.iter().chain(&types).flat_map(|w| w.to_ne_bytes());
        words.chain(strings.iter().copied()).collect()
    }

    #[test]
    fn fields_are_found_by_path_and_in_anonymous_members() {
        let btf = Btf::parse(blob()).unwrap();
        assert_eq!(btf.offset("s", "a").unwrap(), 0);
        assert_eq!(btf.offset("s", "inner.b").unwrap(), 8);
        assert_eq!(btf.offset("s", "inner.c").unwrap(), 16);
        let c = btf.field(5, "c", DEPTH).unwrap().unwrap();
        assert_eq!((c.offset, btf.size(c.type_id).unwrap()), (8, 12));
        assert!(matches!(btf.offset("s", "inner.d"), Err(BtfError::NoField(..))));
        assert!(matches!(btf.offset("t", "a"), Err(BtfError::NoType(_))));
    }

    #[test]
    fn every_cut_is_an_error_or_finds_nothing() {
        let whole = blob();
        for cut in 0..whole.len() - 1 {
            let parsed = Btf::parse(whole[..cut].to_vec());
            assert!(parsed.and_then(|btf| btf.offset("s", "inner.c")).is_err(), "cut at {cut}");
        }
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a skipped test says why")]
    fn the_running_kernel_has_what_the_programs_read() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel has no BTF");
            return;
        };
        let btf = Btf::parse(bytes).unwrap();
        for (_, structure, path) in zone_ebpf_abi::names::global::OFFSETS {
            assert!(btf.offset(structure, path).unwrap() < 65_536, "{structure}.{path}");
        }
        assert_eq!(btf.tracepoint_arguments("sched_switch").unwrap(), 4);
        assert!(btf.tracepoint_arguments("sched_process_exit").unwrap() >= 1);
    }
}
