//! The system-call filter of a zone: from a profile's rules to a seccomp(2) program.
//!
//! What the program says, in this order: a foreign calling convention → `ENOSYS`; a call nobody knows →
//! `ENOSYS` (programs probe for new calls and fall back; `EPERM` would be an error to them); a refusal of the
//! profile → its error number; everything else → allowed. Never kill: a filter must not crash what it hosts.
//!
//! The program is made here and not by libseccomp, which cannot say it (2.5.4, tried): in a filter for two
//! architectures it refuses calls newer than itself; it drops a condition on an argument when the call is
//! allowed otherwise; and the opposite of a masked comparison, needed because the kernel looks at 32 bits of
//! what is a 64-bit register, does not exist. What is made here also compiles for arm on x86.

mod bpf;
#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod live;
mod policy;
#[cfg(test)]
mod tests;

use crate::{
    CapSet, Profile,
    syscall::{self, Arch},
};

/// Most instructions the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Why a profile cannot be compiled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The kernel would not take it.
    #[error(
        "brand {brand}: its filter has {instructions} instructions, the kernel takes {MAX_INSTRUCTIONS}; take rules out of the profile"
    )]
    TooLong {
        /// The brand.
        brand: String,
        /// How many there are.
        instructions: usize,
    },
    /// A rule has more conditions than a jump of the program reaches over.
    #[error("brand {brand}: a rule of its filter has too many conditions; split it")]
    TooManyConditions {
        /// The brand.
        brand: String,
    },
}

/// Compiles the filter for this host: an array of `struct sock_filter` in native byte order, as
/// `SECCOMP_SET_MODE_FILTER` takes it. `caps` are the zone's privileges ([`crate::capability::resolve`]): some
/// rules fall away with one.
pub fn compile(profile: &Profile, caps: CapSet) -> Result<Vec<u8>, FilterError> {
    compile_for(profile, caps, syscall::HOST)
}

/// Compiles the filter for the given calling conventions; every other one is answered `ENOSYS`.
pub fn compile_for(profile: &Profile, caps: CapSet, archs: &[Arch]) -> Result<Vec<u8>, FilterError> {
    let brand = || profile.name.clone();
    let mut bodies = Vec::new();
    for arch in archs {
        let runs = policy::runs(&profile.syscalls, caps, *arch);
        let body = bpf::body(&runs).ok_or_else(|| FilterError::TooManyConditions { brand: brand() })?;
        bodies.push((arch.audit(), body));
    }
    let program = bpf::program(bodies);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(FilterError::TooLong { brand: brand(), instructions: program.len() });
    }
    Ok(program.iter().flat_map(|instruction| instruction.bytes()).collect())
}
