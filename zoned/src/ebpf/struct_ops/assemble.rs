//! One program out of an object: its functions one after the other, with what they refer to resolved.

use std::{collections::HashMap, os::fd::AsRawFd};

use super::{
    Maps,
    object::{CALL, Function, INSTRUCTION, Object, Program, Target, immediate},
    types,
};
use crate::sys::bpf::struct_ops::FunctionInfo;

/// `BPF_LD | BPF_IMM | BPF_DW`, an instruction of two slots.
const LOAD_64: u8 = 0x18;

// What the second register's field says the immediate value is (`BPF_PSEUDO_…`).
const MAP_FD: u8 = 1;
const MAP_VALUE: u8 = 2;
const FUNCTION: u8 = 4;
const CALL_HELPER: u8 = 0;
const CALL_LOCAL: u8 = 1;
const CALL_KERNEL: u8 = 2;

/// Number of a helper that no kernel has: a call of it is refused where it can be reached, and named in the log.
const POISON: i32 = 2_002_000_000;

/// What a program's references are resolved by.
pub(super) struct Linkage<'a> {
    /// The kernel's functions with their ids, as far as it has them.
    pub(super) functions: &'a HashMap<&'a str, u32>,
    pub(super) maps: &'a Maps<'a>,
}

/// A program as the kernel takes it.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) instructions: Vec<[u8; 8]>,
    /// Empty if there is but one.
    pub(super) functions: Vec<FunctionInfo>,
    /// Kernel functions it calls that there are not.
    pub(super) missing: Vec<String>,
}

/// Puts a program together.
pub(super) fn assemble(
    object: &Object<'_>,
    program: Program<'_>,
    linkage: &Linkage<'_>,
) -> Result<Assembled, String> {
    let mut code = Code { object, placed: Vec::new(), instructions: Vec::new() };
    code.place(program.function)?;
    let mut missing = Vec::new();
    let mut next = 0;
    while let Some(&(function, start)) = code.placed.get(next) {
        code.resolve(function, start, linkage, &mut missing)
            .map_err(|e| format!("program {}: {e}", program.member))?;
        next += 1;
    }
    let functions = if code.placed.len() == 1 {
        Vec::new()
    } else {
        let info = |&(_, start): &(Function, usize)| FunctionInfo {
            instruction: start as u32,
            type_id: types::FUNCTION,
        };
        code.placed.iter().map(info).collect()
    };
    Ok(Assembled { instructions: code.instructions, functions, missing })
}

struct Code<'a> {
    object: &'a Object<'a>,
    /// Functions with the index of their first instruction.
    placed: Vec<(Function, usize)>,
    instructions: Vec<[u8; 8]>,
}

impl Code<'_> {
    /// Index of a function's first instruction; it is appended if it is not there yet.
    fn place(&mut self, function: Function) -> Result<usize, String> {
        if let Some((_, start)) = self.placed.iter().find(|(placed, _)| *placed == function) {
            return Ok(*start);
        }
        let code = self.object.code(function).ok_or("a function is cut off")?;
        let start = self.instructions.len();
        self.placed.push((function, start));
        self.instructions.extend(code);
        Ok(start)
    }

    fn resolve(
        &mut self,
        function: Function,
        start: usize,
        linkage: &Linkage<'_>,
        missing: &mut Vec<String>,
    ) -> Result<(), String> {
        let object = self.object;
        let references = object.references(function, |index| self.at(start + index))?;
        for &(index, target) in &references {
            self.refer(start + index, target, linkage, missing)?;
        }
        // Calls within a section need no relocation.
        let count = (function.bytes / INSTRUCTION) as usize;
        for index in (0..count).filter(|i| references.iter().all(|(known, _)| known != i)) {
            let at = start + index;
            if self.opcode(at) == CALL && self.pseudo(at) == CALL_LOCAL {
                let ahead = i64::from(immediate(self.at(at))) + 1;
                let to = (function.start as i64 + (index as i64 + ahead) * INSTRUCTION as i64) as u64;
                self.call(at, function.section, to)?;
            }
        }
        Ok(())
    }

    fn refer(
        &mut self,
        at: usize,
        target: Target<'_>,
        linkage: &Linkage<'_>,
        missing: &mut Vec<String>,
    ) -> Result<(), String> {
        let map = |name: &str| {
            let fd = linkage.maps.get(name).map(AsRawFd::as_raw_fd);
            fd.ok_or_else(|| format!("uses map {name}, which was not made"))
        };
        match (self.opcode(at), target) {
            (CALL, Target::Extern(name)) => match linkage.functions.get(name) {
                Some(id) => self.set(at, CALL_KERNEL, *id as i32),
                None => {
                    self.set(at, CALL_HELPER, POISON + missing.len() as i32);
                    missing.push(name.to_owned());
                }
            },
            (CALL, Target::Code { section, at: to }) => self.call(at, section, to)?,
            (LOAD_64, Target::Code { section, at: to }) => {
                let function = self.function(section, to)?;
                let start = self.place(function)?;
                self.set(at, FUNCTION, start as i32 - at as i32 - 1);
            }
            (LOAD_64, Target::Map(name)) => self.set(at, MAP_FD, map(name)?),
            (LOAD_64, Target::Data { section, at: byte }) => {
                self.set(at, MAP_VALUE, map(section)?);
                self.set(at + 1, 0, byte as i32);
            }
            (opcode, target) => return Err(format!("instruction {opcode:#x} refers to {target:?}")),
        }
        Ok(())
    }

    fn call(&mut self, at: usize, section: usize, to: u64) -> Result<(), String> {
        let function = self.function(section, to)?;
        let start = self.place(function)?;
        self.set(at, CALL_LOCAL, start as i32 - at as i32 - 1);
        Ok(())
    }

    fn function(&self, section: usize, at: u64) -> Result<Function, String> {
        let found = self.object.function_at(section, at);
        found.ok_or_else(|| format!("calls byte {at} of section {section}, where no function begins"))
    }

    /// An instruction; zeros past the end, which are none.
    fn at(&self, at: usize) -> [u8; 8] {
        self.instructions.get(at).copied().unwrap_or_default()
    }

    fn opcode(&self, at: usize) -> u8 {
        self.at(at)[0]
    }

    fn pseudo(&self, at: usize) -> u8 {
        self.at(at)[1] >> 4
    }

    /// Sets what an instruction's immediate value means, and the value; the offset becomes zero.
    fn set(&mut self, at: usize, pseudo: u8, value: i32) {
        if let Some(instruction) = self.instructions.get_mut(at) {
            instruction[1] = instruction[1] & 0x0f | pseudo << 4;
            instruction[2..4].fill(0);
            instruction[4..].copy_from_slice(&value.to_ne_bytes());
        }
    }
}
