//! Classic BPF for seccomp(2): verdicts over numbers become a binary tree of comparisons.
//!
//! Jumps go forward only, so a program is put together from the back: what is jumped over is there already and
//! its length known. Only instructions that the kernel's `seccomp_is_const_allow` follows (Linux 5.11) stand before
//! a verdict that looks at no argument: an allowed call costs one bit of a bitmap and never runs the program.

use super::policy::{Run, Verdict};
use crate::profile::{ArgRule, Errno, SyscallRule};

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jt: u8,
    pub(super) jf: u8,
    pub(super) k: u32,
}

// linux/bpf_common.h
pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(super) const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// linux/seccomp.h
pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const REFUSE: u32 = 0x0005_0000;

// Offsets in struct seccomp_data; both families of hosts are little-endian: the low half of an argument is first.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

type Code = Vec<Instruction>;

impl Instruction {
    fn new(code: u16, k: u32) -> Self {
        Instruction { code, jt: 0, jf: 0, k }
    }

    fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Self {
        Instruction { code, jt, jf, k }
    }

    /// As the kernel reads it.
    pub(super) fn bytes(self) -> [u8; 8] {
        let ([c0, c1], [k0, k1, k2, k3]) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }
}

fn refuse(errno: Errno) -> Instruction {
    Instruction::new(RETURN, REFUSE | u32::from(errno.number()))
}

/// One body after the other, each behind a check of its `AUDIT_ARCH_*`; `ENOSYS` to any other.
pub(super) fn program(bodies: Vec<(u32, Code)>) -> Code {
    let mut code = vec![Instruction::new(LOAD, ARCH)];
    for (arch, body) in bodies {
        code.push(Instruction::branch(EQUAL, arch, 1, 0));
        code.push(Instruction::new(JUMP, body.len() as u32));
        code.extend(body);
    }
    code.push(refuse(Errno::Enosys));
    code
}

/// The verdicts of one architecture. None if a condition is too long for a jump.
pub(super) fn body(runs: &[Run<'_>]) -> Option<Code> {
    let mut code = vec![Instruction::new(LOAD, NUMBER)];
    code.extend(tree(runs)?);
    Some(code)
}

fn tree(runs: &[Run<'_>]) -> Option<Code> {
    if let [(_, verdict)] = runs {
        return leaf(verdict);
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let (middle, _) = high.first()?;
    let (low, high) = (tree(low)?, tree(high)?);
    let mut code = match u8::try_from(low.len()) {
        Ok(over) => vec![Instruction::branch(AT_LEAST, *middle, over, 0)],
        Err(_) => {
            let far = Instruction::new(JUMP, low.len() as u32);
            vec![Instruction::branch(AT_LEAST, *middle, 0, 1), far]
        }
    };
    code.extend(low);
    code.extend(high);
    Some(code)
}

fn leaf(verdict: &Verdict<'_>) -> Option<Code> {
    match verdict {
        Verdict::Allow => Some(vec![Instruction::new(RETURN, ALLOW)]),
        Verdict::Refuse(errno) => Some(vec![refuse(*errno)]),
        Verdict::Examine(rules) => {
            let mut code = Code::new();
            for rule in rules {
                code.extend(examine(rule)?);
            }
            code.push(Instruction::new(RETURN, ALLOW));
            Some(code)
        }
    }
}

/// Refuses if every condition holds, falls out of its end if not.
fn examine(rule: &SyscallRule) -> Option<Code> {
    let mut code = vec![refuse(rule.errno)];
    for arg in rule.args.iter().rev() {
        let mut whole = condition(arg, code.len())?;
        whole.extend(code);
        code = whole;
    }
    Some(code)
}

/// Goes on behind itself if the condition holds, `over` instructions further if not.
fn condition(arg: &ArgRule, over: usize) -> Option<Code> {
    let mut code = vec![Instruction::new(LOAD, ARGS + 8 * u32::from(arg.index))];
    if arg.mask != u32::MAX {
        code.push(Instruction::new(AND, arg.mask));
    }
    let (values, wanted) = if arg.is.is_empty() { (&arg.is_not, false) } else { (&arg.is, true) };
    for (place, value) in values.iter().enumerate() {
        // Instructions of this condition behind the comparison: the other values, and the last jump of `is`.
        let behind = values.len() - 1 - place + usize::from(wanted);
        let reach = if wanted { behind } else { behind + over };
        code.push(Instruction::branch(EQUAL, *value, u8::try_from(reach).ok()?, 0));
    }
    if wanted {
        code.push(Instruction::new(JUMP, u32::try_from(over).ok()?));
    }
    Some(code)
}
