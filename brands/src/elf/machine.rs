//! Kinds of machine, and those that run here.

use std::fmt;

use goblin::elf::header::{EM_386, EM_AARCH64, EM_ARM, EM_X86_64, machine_to_str};
use serde::{Deserialize, Serialize};

/// A kind of machine: `e_machine` of the file and the width of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

    /// Whether it is x86 with 64 bits, whose programs may know a vsyscall page.
    pub fn is_x86_64(self) -> bool {
        self == Machine::little(EM_X86_64, 64)
    }

    /// Whether it is x86 with 32 bits.
    pub fn is_x86(self) -> bool {
        self == Machine::little(EM_386, 32)
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
