//! Sets of operations of the kernel's, implemented by eBPF programs: `struct_ops`.
//!
//! aya 0.14 knows neither programs of this type nor calls of kernel functions (kfuncs), so this does, for any structure
//! that the kernel lets be implemented: `sched_ext_ops`, `Qdisc_ops`, `tcp_congestion_ops`. aya still makes the maps.
//!
//! ```text
//! object ──▶ object::Object ──▶ assemble::assemble ──▶ PROG_LOAD, one a member ─┐
//!              sections,          calls and maps                                ├──▶ value ──▶ map ──▶ link
//!              relocations        by name                    plain fields ──────┘
//! ```
//! In the object a program is in section `struct_ops/MEMBER`, or `struct_ops.s/MEMBER` if it may sleep, and takes a
//! pointer to its arguments, 8 bytes each. Members, kernel functions and the structures' types are found by name in the
//! kernel's BTF, so that an object fits every kernel that has what it needs: a call of a function that the kernel lacks is
//! made one that the verifier refuses, unless it can see that it is never reached.

mod assemble;
mod object;
mod types;

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use aya::maps::Map;

pub(super) use self::object::without_programs;
use self::{
    assemble::{Linkage, assemble},
    object::Object,
};
use super::btf::{Btf, BtfError};
use crate::sys::bpf::struct_ops as sys;

/// Why operations could not be loaded or registered.
#[derive(Debug, thiserror::Error)]
pub enum StructOpsError {
    /// The object is not one, or has something in it that cannot be resolved.
    #[error("eBPF object: {0}")]
    Object(String),
    /// The kernel lacks the structure, or a member of it.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A program was refused.
    #[error("eBPF program {member} of {structure}: the kernel refuses it{}{}", lacking(missing), said(log))]
    Program {
        /// Structure.
        structure: String,
        /// Member that it implements.
        member: String,
        /// Kernel functions that it calls and that this kernel does not have.
        missing: Vec<String>,
        /// What the verifier said last.
        log: String,
        /// Errno.
        source: io::Error,
    },
    /// A step after the programs failed.
    #[error("{structure}: cannot {doing}")]
    Kernel {
        /// Structure.
        structure: String,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

fn lacking(missing: &[String]) -> String {
    if missing.is_empty() {
        return String::new();
    }
    format!("; this kernel has no {}", missing.join(", "))
}

/// The last lines of a verifier's log: what is before them is how it got there.
fn said(log: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<_> = log.lines().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("; the verifier said:\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"))
}

/// A plain field of the structure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    /// An integer, as wide as the kernel has it.
    Number(u64),
    /// Text in an array of characters; the rest are zeros.
    Text(&'a str),
}

/// Maps that exist, by name.
pub(super) type Maps<'a> = BTreeMap<&'a str, BorrowedFd<'a>>;

/// The maps that aya has made of an object.
pub(super) fn made(ebpf: &aya::Ebpf) -> Maps<'_> {
    ebpf.maps().filter_map(|(name, map)| Some((name, fd(map)?))).collect()
}

fn fd(map: &Map) -> Option<BorrowedFd<'_>> {
    let (Map::Array(data)
    | Map::PerCpuArray(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::RingBuf(data)
    | Map::Unsupported(data)) = map
    else {
        return None;
    };
    Some(data.fd().as_fd())
}

/// What is to be implemented, and by what.
pub(super) struct Source<'a> {
    /// Name of the structure in the kernel.
    pub(super) structure: &'a str,
    /// Plain fields of it.
    pub(super) fields: &'a [(&'a str, Field<'a>)],
    /// The object with the programs.
    pub(super) object: &'a [u8],
    /// The maps that its programs use, by name, sections of global data among them.
    pub(super) maps: &'a Maps<'a>,
    /// Members that are left out where the kernel does not know them.
    pub(super) optional: &'a [&'a str],
}

/// Operations that the kernel has and does not use yet.
#[derive(Debug)]
pub(super) struct Loaded {
    structure: String,
    map: OwnedFd,
}

impl Loaded {
    /// Has the kernel use them, for as long as the link lives, which can be pinned.
    pub(super) fn register(self) -> Result<OwnedFd, StructOpsError> {
        sys::register(&self.map).map_err(kernel(&self.structure, "register it"))
    }
}

/// Loads the programs and puts the operations together.
pub(super) fn load(source: &Source<'_>, btf: &Btf) -> Result<Loaded, StructOpsError> {
    let structure = source.structure;
    let object = Object::parse(source.object).map_err(StructOpsError::Object)?;
    let operations = btf.structure(structure)?;
    let value_type = btf.structure(&format!("bpf_struct_ops_{structure}"))?;
    let data = btf.offset(&format!("bpf_struct_ops_{structure}"), "data")?;
    let mut value = vec![0; btf.size(value_type)?];
    for (name, field) in source.fields {
        let at = btf.member(operations, name)?;
        write(&mut value, (data + at.offset) as usize, btf.size(at.type_id)?, *field)
            .ok_or_else(|| StructOpsError::Object(format!("{structure}.{name}: does not hold {field:?}")))?;
    }
    let types = sys::load_btf(&types::blob()).map_err(kernel(structure, "load BTF for it"))?;
    let functions = btf.functions(&object.externs())?;
    let linkage = Linkage { functions: &functions, maps: source.maps };
    let mut programs = Vec::new();
    for program in object.programs() {
        let member = match btf.member(operations, program.member) {
            Err(_) if source.optional.contains(&program.member) => continue,
            other => other?,
        };
        let assembled = assemble(&object, program, &linkage).map_err(StructOpsError::Object)?;
        let fd = sys::load_program(&sys::Program {
            name: program.member,
            instructions: &assembled.instructions,
            functions: &assembled.functions,
            btf: types.as_fd(),
            member: (operations, member.index),
            sleepable: program.sleepable,
        });
        let fd = fd.map_err(|(source, log)| StructOpsError::Program {
            structure: structure.into(),
            member: program.member.into(),
            missing: assembled.missing,
            log,
            source,
        })?;
        let raw = std::os::fd::AsRawFd::as_raw_fd(&fd) as u64;
        write(&mut value, (data + member.offset) as usize, 8, Field::Number(raw)).ok_or_else(|| {
            StructOpsError::Object(format!("{structure}.{}: is no pointer", program.member))
        })?;
        programs.push(fd);
    }
    let map = sys::create_map(types.as_fd(), value_type, value.len() as u32)
        .map_err(kernel(structure, "make a map for it"))?;
    sys::update_map(map.as_fd(), &value).map_err(kernel(structure, "put it together"))?;
    // The map holds the programs from here on.
    drop(programs);
    Ok(Loaded { structure: structure.into(), map })
}

fn kernel(structure: &str, doing: &'static str) -> impl FnOnce(io::Error) -> StructOpsError {
    let structure = structure.to_owned();
    move |source| StructOpsError::Kernel { structure, doing, source }
}

/// Writes a field of that many bytes; `None` if it does not fit.
fn write(value: &mut [u8], at: usize, bytes: usize, field: Field<'_>) -> Option<()> {
    let room = value.get_mut(at..at.checked_add(bytes)?)?;
    match field {
        Field::Number(number) if bytes <= 8 => {
            let number = if cfg!(target_endian = "little") { number } else { number << (64 - 8 * bytes) };
            room.copy_from_slice(&number.to_ne_bytes()[..bytes]);
        }
        // The last byte stays zero.
        Field::Text(text) if text.len() < bytes => room[..text.len()].copy_from_slice(text.as_bytes()),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_where_they_fit() {
        let mut value = [0; 16];
        assert!(write(&mut value, 2, 4, Field::Number(0x0102_0304)).is_some());
        assert_eq!(u32::from_ne_bytes(value[2..6].try_into().unwrap()), 0x0102_0304);
        assert!(write(&mut value, 8, 4, Field::Text("abc")).is_some());
        assert_eq!(&value[8..12], b"abc\0");
        assert!(write(&mut value, 8, 3, Field::Text("abc")).is_none(), "no room for the end of it");
        assert!(write(&mut value, 14, 4, Field::Number(1)).is_none());
    }

    #[test]
    fn only_the_end_of_a_log_is_told() {
        let log = (0..100).map(|i| format!("line {i}\n")).collect::<String>();
        let told = said(&log);
        assert!(told.contains("line 99") && told.contains("line 88") && !told.contains("line 87"), "{told}");
        assert_eq!(said(""), "");
    }
}
