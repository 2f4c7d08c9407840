//! From rules about names to verdicts about numbers, for one architecture.

use std::collections::BTreeMap;

use crate::{
    CapSet,
    profile::{Errno, SyscallRule, Syscalls},
    syscall::{self, Arch},
};

/// What is said to a system call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict<'a> {
    /// The kernel decides.
    Allow,
    /// Refused.
    Refuse(Errno),
    /// Refused when all conditions of one of these rules hold.
    Examine(Vec<&'a SyscallRule>),
}

/// A number with which a verdict begins that holds up to the next one's.
pub(super) type Run<'a> = (u32, Verdict<'a>);

/// The number a tracer writes over a call that is to be skipped, ptrace(2). It never runs anything, and an error
/// of the filter would overwrite the result the tracer wants seen.
const SKIPPED: u32 = u32::MAX;

/// Verdicts over all numbers, in order. x32's numbers begin at bit 30, far above any known one.
pub(super) fn runs<'a>(rules: &'a Syscalls, caps: CapSet, arch: Arch) -> Vec<Run<'a>> {
    let mut verdicts: BTreeMap<u32, Verdict<'a>> =
        syscall::all(arch).into_keys().map(|number| (number, Verdict::Allow)).collect();
    verdicts.insert(SKIPPED, Verdict::Allow);
    for rule in rules.deny.iter().filter(|rule| !rule.unless.is_some_and(|c| caps.contains(c))) {
        for number in rule.names.iter().filter_map(|name| syscall::number(name, arch)) {
            let verdict = verdicts.entry(number).or_insert(Verdict::Allow);
            *verdict = refuse(std::mem::replace(verdict, Verdict::Allow), rule);
        }
    }
    let mut runs = Vec::new();
    let mut next = 0;
    for (number, verdict) in verdicts {
        if number != next {
            push(&mut runs, next, Verdict::Refuse(Errno::Enosys));
        }
        push(&mut runs, number, verdict);
        next = number.wrapping_add(1);
    }
    runs
}

/// A verdict with one more refusal; the first that refuses always is the last word.
fn refuse<'a>(verdict: Verdict<'a>, rule: &'a SyscallRule) -> Verdict<'a> {
    match verdict {
        Verdict::Refuse(errno) => Verdict::Refuse(errno),
        _ if rule.args.is_empty() => Verdict::Refuse(rule.errno),
        Verdict::Allow => Verdict::Examine(vec![rule]),
        Verdict::Examine(mut rules) => {
            rules.push(rule);
            Verdict::Examine(rules)
        }
    }
}

fn push<'a>(runs: &mut Vec<Run<'a>>, from: u32, verdict: Verdict<'a>) {
    if runs.last().is_none_or(|(_, last)| *last != verdict) {
        runs.push((from, verdict));
    }
}
