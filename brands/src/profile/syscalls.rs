//! Rules of the system-call filter; [`crate::filter`] compiles them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Errno;

/// Rules of the system-call filter. What is not named here is allowed if [`crate::syscall`] knows it and
/// answered `ENOSYS` if not: a userland asks for new calls and falls back, which `EPERM` would prevent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Syscalls {
    /// Calls that are refused.
    #[serde(default)]
    pub deny: Vec<SyscallRule>,
    /// Calls taken off the refusals that are inherited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowRule>,
}

/// Refusal of system calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SyscallRule {
    /// Names of calls, as in the kernel's tables.
    pub names: Vec<String>,
    /// What the caller is answered.
    pub errno: Errno,
    /// Only when all of these hold; always if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<ArgRule>,
    /// Not for zones that hold this privilege.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<crate::Capability>,
    /// Reason.
    pub why: String,
}

/// Calls that are allowed although an inherited rule refuses them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AllowRule {
    /// Names of calls.
    pub names: Vec<String>,
    /// Reason.
    pub why: String,
}

/// A condition on the low 32 bits of an argument. The kernel takes all arguments that are worth a rule as
/// (unsigned) int, so whatever a 64-bit caller leaves in the upper half must not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArgRule {
    /// Place of the argument, 0 to 5.
    pub index: u8,
    /// Bits that are looked at; all if not given.
    #[serde(default = "all_bits", skip_serializing_if = "is_all_bits")]
    pub mask: u32,
    /// The argument is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub is: Vec<u32>,
    /// The argument is none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub is_not: Vec<u32>,
}

impl ArgRule {
    /// Values one condition can list: a jump of the filter reaches over 255 instructions.
    pub const MAX_VALUES: usize = 32;
}

fn all_bits() -> u32 {
    u32::MAX
}

fn is_all_bits(mask: &u32) -> bool {
    *mask == u32::MAX
}
