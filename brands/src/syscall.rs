//! System calls by name and architecture: the kernel's tables up to Linux 6.18.
//!
//! Owns the data file `data/syscalls.tbl`. Knows nothing of rules; [`crate::filter`] makes those.

use std::{collections::BTreeMap, sync::LazyLock};

/// A calling convention the kernel tells apart, audit.h's `AUDIT_ARCH_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86. Its x32 variant sets bit 30 of the call's number.
    X86_64,
    /// 32-bit x86, also on a 64-bit kernel.
    X86,
    /// 64-bit arm.
    Aarch64,
    /// 32-bit arm, also on a 64-bit kernel.
    Arm,
}

/// Conventions a program may use on this host: its own, and the 32-bit one beside it.
#[cfg(target_arch = "x86_64")]
pub const HOST: &[Arch] = &[Arch::X86_64, Arch::X86];
/// Conventions a program may use on this host: its own, and the 32-bit one beside it.
#[cfg(target_arch = "aarch64")]
pub const HOST: &[Arch] = &[Arch::Aarch64, Arch::Arm];

impl Arch {
    /// The `arch` of `struct seccomp_data`, seccomp(2).
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }
}

static TABLE: LazyLock<BTreeMap<&str, [Option<u32>; 4]>> = LazyLock::new(|| {
    let rows = include_str!("../data/syscalls.tbl").lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?;
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        Some((name, [number(), number(), number(), number()]))
    })
    .collect()
});

/// Whether any architecture has a call of this name.
pub fn exists(name: &str) -> bool {
    TABLE.contains_key(name)
}

/// Number of a call, if the architecture has it.
pub fn number(name: &str, arch: Arch) -> Option<u32> {
    TABLE.get(name)?[arch as usize]
}

/// All calls of an architecture, by number (arm's 341 has two names).
pub fn all(arch: Arch) -> BTreeMap<u32, &'static str> {
    TABLE.iter().filter_map(|(name, numbers)| Some((numbers[arch as usize]?, *name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_the_calls_of_linux_6_18() {
        for (arch, calls, newest) in [
            (Arch::X86_64, 383, 469),
            (Arch::X86, 459, 469),
            (Arch::Aarch64, 325, 469),
            (Arch::Arm, 428, 983_046),
        ] {
            let all = all(arch);
            assert_eq!((all.len(), all.keys().next_back()), (calls, Some(&newest)), "{arch:?}");
        }
        let clone3 = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm].map(|a| number("clone3", a));
        assert_eq!(clone3, [Some(435); 4]);
        assert_eq!(number("socketcall", Arch::X86), Some(102));
        assert_eq!(number("socketcall", Arch::X86_64), None);
        assert!(!exists("no_such_call"));
    }

    #[test]
    fn it_agrees_with_the_headers_of_this_machine() {
        for (arch, header) in [(Arch::X86_64, "unistd_64.h"), (Arch::X86, "unistd_32.h")] {
            let path = format!("/usr/include/x86_64-linux-gnu/asm/{header}");
            let Ok(text) = std::fs::read_to_string(&path) else {
                eprintln!("skipped: {path} is not installed (linux-libc-dev)");
                continue;
            };
            let mut seen = 0;
            for define in text.lines().filter_map(|line| line.strip_prefix("#define __NR_")) {
                let (name, value) = define.split_once(' ').unwrap();
                let value: u32 = value.trim().parse().unwrap();
                // A header of a later kernel than the table's knows more calls.
                if value <= 469 {
                    assert_eq!(number(name, arch), Some(value), "{name} in {path}");
                    seen += 1;
                }
            }
            assert!(seen > 300, "{path}: only {seen} calls were read");
        }
    }
}
