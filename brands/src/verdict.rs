//! Whether a root can run on this host, by which brand, and what stands in its way.
//!
//! Judges a [`Survey`] only: nothing here opens a file.

mod findings;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{
    elf::{Level, Machine, Release, System},
    survey::{Kind, Survey},
};

/// What of a host matters to a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its kernel.
    pub kernel: Release,
    /// Whether its kernel has a vsyscall page, for programs that call it.
    pub vsyscall: bool,
    /// The level of its processor; none where that is no x86-64.
    pub level: Option<Level>,
}

/// How much a finding weighs: the heaviest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Good to know.
    Note,
    /// It works only with help: what the brand has to do.
    Shim,
    /// A part of it will not work.
    Warning,
    /// It cannot run here.
    Refusal,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Short name, which stays the same.
    pub id: String,
    /// How much it weighs.
    pub weight: Weight,
    /// What it is, in a sentence.
    pub what: String,
    /// Files that show it, some of them.
    pub evidence: Vec<String>,
    /// What comes of it, or what to do.
    pub then: String,
}

/// The verdict on a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// The heaviest of the findings.
    pub weight: Weight,
    /// What it is: system, machine, C library, init.
    pub is: Vec<String>,
    /// What was found, the heaviest first.
    pub findings: Vec<Finding>,
}

/// Judges a root.
pub fn judge(survey: &Survey, host: &Host) -> Verdict {
    let mut findings = findings::all(survey, host);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    let weight = findings.first().map_or(Weight::Note, |finding| finding.weight);
    Verdict { weight, is: is(survey), findings }
}

/// The kind that most of a root's files are of; programs of other kinds may lie in it.
pub(crate) fn main_kind(survey: &Survey) -> Option<&Kind> {
    survey.elf.kinds.first()
}

fn is(survey: &Survey) -> Vec<String> {
    let mut is = Vec::new();
    if survey.detection.is_some() {
        let unnamed = || "a system that does not say its name".to_owned();
        is.push(survey.identity().map_or_else(unnamed, |identity| identity.says));
    }
    is.extend(main_kind(survey).map(|kind| described(kind.machine, kind.system)));
    is.extend(survey.libcs.iter().map(|libc| match libc.release {
        Some(release) => format!("{} {release}, {}", libc.kind, libc.path),
        None => format!("{}, {}", libc.kind, libc.path),
    }));
    is.extend(survey.package_managers.iter().map(|manager| format!("packages by {manager}")));
    is
}

fn described(machine: Machine, system: System) -> String {
    format!("built for {machine}, {system}")
}
