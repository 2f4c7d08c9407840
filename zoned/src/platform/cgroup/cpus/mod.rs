//! Which CPUs each zone runs on, and which of them are nobody else's.
//!
//! ```text
//! <cgroup2>/<name>/              cpuset.cpus.exclusive: those of all zones that dedicate some
//!           ├─ <uuid>.<boot>/    cpuset.cpus = cpuset.cpus.exclusive = 1, cpuset.cpus.partition = root
//!           └─ <uuid>.<boot>/    cpuset.cpus: what it was given, without CPU 1
//! ```
//! A group that is the root of a partition has its CPUs for itself: the kernel takes them from every other group, the root
//! group of the host's own processes included, and moves who ran there (cgroup-v2.rst, cpuset.cpus.partition). One below a
//! group that is none is a remote partition; its CPUs must be in `cpuset.cpus.exclusive` all the way down (Linux 6.7).
//!
//! Nothing is remembered: who holds which CPUs is read from the groups. Whoever calls sees to it that it is one at a time.

mod plan;

use std::{fs, io, path::Path};

use zoned_api::config::CpuSet;

use self::plan::{Step, Target, steps};
use super::{
    Tree,
    controllers::{Controller, Sight as _, Version},
    limits::{LimitError, said, write},
    settings::{Setting, Value},
    walk,
};

/// The CPUs a group may have for itself.
pub(super) const EXCLUSIVE: &str = "cpuset.cpus.exclusive";

/// Whether it has.
pub(super) const PARTITION: &str = "cpuset.cpus.partition";

/// A boot that has groups, and the CPUs it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// How its groups are named.
    pub tag: String,
    /// Its zone's name, for messages.
    pub zone: String,
    /// The CPUs it may run on; all of them if none.
    pub cpus: Option<CpuSet>,
    /// It wants them for itself.
    pub dedicated: bool,
}

impl Asking {
    /// Those it wants for itself.
    fn wanted(&self) -> Option<&CpuSet> {
        self.cpus.as_ref().filter(|_| self.dedicated)
    }
}

impl Tree {
    /// Whether a boot can have the CPUs it asks for beside the others that run.
    pub fn can_allot(&self, own: &Asking, others: &[Asking]) -> Result<(), LimitError> {
        plan::conflict(own, others, &self.held(&own.tag), &self.cpus())
    }

    /// Gives a boot the CPUs it asks for, and takes those that it has for itself from the others. On an error everything
    /// is as it was.
    pub fn allot(&self, own: &Asking, others: &[Asking]) -> Result<(), LimitError> {
        let (held, all) = (self.held(&own.tag), self.cpus());
        plan::conflict(own, others, &held, &all)?;
        // Where nobody has CPUs for himself, and nobody had, each zone is its own affair.
        let steps = match own.dedicated || self.parent_holds() {
            true => steps(own, others, &held, self.holds(&own.tag).as_ref()),
            false => vec![plan::alone(own)],
        };
        let mut undo = Vec::new();
        for step in steps {
            match self.take(&step) {
                Ok(inverse) => undo.extend(inverse),
                Err(e) => {
                    let undone = undo.iter().rev().filter_map(|step| self.take(step).err());
                    undone.for_each(|e| tracing::error!("not put back: {e}"));
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Gives the CPUs back that a boot had for itself. Goes on after errors; returns all.
    pub fn free_cpus(&self, tag: &str, others: &[Asking]) -> Vec<LimitError> {
        if !self.parent_holds() {
            return Vec::new();
        }
        plan::free(tag, others, &self.held(tag)).iter().filter_map(|step| self.take(step).err()).collect()
    }

    /// Whether a boot has its CPUs for itself: None if it was not to, and else the kernel's reason if it has not.
    pub fn dedication(&self, tag: &str) -> Option<Result<(), String>> {
        let text = self.text(Controller::Cpuset, tag, PARTITION)?;
        let rest = text.trim().strip_prefix("root")?.trim();
        Some(if rest.is_empty() { Ok(()) } else { Err(reason(rest)) })
    }

    /// CPUs that are kept for a zone that has no group any more. For the audit.
    pub fn unclaimed_cpus(&self) -> Option<CpuSet> {
        let kept = self.exclusive("")?;
        match plan::taken(&self.held("")) {
            Some(held) => kept.without(&held),
            None => Some(kept),
        }
    }

    /// Whether any boot may have CPUs for itself: the group of all zones comes to be allowed them before it, and is until
    /// after it. Never where the controller has no such file.
    fn parent_holds(&self) -> bool {
        self.exclusive("").is_some()
    }

    /// What each boot but one is to have for itself.
    fn held(&self, but: &str) -> Vec<(String, CpuSet)> {
        if !self.parent_holds() {
            return Vec::new();
        }
        let tags = walk::folders(self.parent()).into_iter().map(|(_, tag)| tag).filter(|tag| tag != but);
        tags.filter_map(|tag| self.exclusive(&tag).map(|cpus| (tag, cpus))).collect()
    }

    /// What a boot has for itself, if it has.
    fn holds(&self, tag: &str) -> Option<CpuSet> {
        self.exclusive(tag).filter(|_| self.dedication(tag) == Some(Ok(())))
    }

    /// The CPUs that a group may have for itself.
    fn exclusive(&self, tag: &str) -> Option<CpuSet> {
        CpuSet::parse(&self.text(Controller::Cpuset, tag, EXCLUSIVE)?).ok()
    }

    /// Writes what is not so already; returns what undoes it. Another zone's group that is gone needs nothing.
    fn take(&self, step: &Step) -> Result<Option<Step>, LimitError> {
        let Some(folder) = self.folder(Controller::Cpuset, &step.tag) else { return Ok(None) };
        let path = folder.join(step.file);
        let before = word(step.file, &said(&path));
        if step.value.as_deref() == Some(before.as_str()) {
            return Ok(None);
        }
        let written = match (&step.value, step.file) {
            (Some(value), PARTITION) => partition(&path, value),
            // Nothing at all would be no write.
            (Some(value), EXCLUSIVE) if value.is_empty() => write(step.key, &path, "\n"),
            (Some(value), EXCLUSIVE) => write(step.key, &path, value).map_err(not_exclusive),
            (value, _) => {
                let value = value.clone().filter(|value| !value.is_empty());
                let value = value.map_or_else(|| self.inherited(), Value::Whole);
                let Step { key, file, .. } = *step;
                self.write(&step.tag, &Setting { key, controller: Controller::Cpuset, file, value })
            }
        };
        match written {
            Err(LimitError::Write { source, .. }) if step.target == Target::Other && is_gone(&source) => {
                Ok(None)
            }
            Err(e) => Err(e),
            Ok(()) => Ok(Some(Step { value: Some(before), ..step.clone() })),
        }
    }

    /// What a group says that has no CPUs of its own.
    fn inherited(&self) -> Value {
        match self.version(Controller::Cpuset) {
            Some(Version::One) => Value::Inherited,
            _ => Value::Whole("\n".into()),
        }
    }
}

/// What counts of a file's text: behind the kind of a partition stands why it is none.
fn word(file: &str, said: &str) -> String {
    match file {
        PARTITION => said.split(' ').next().unwrap_or_default().to_owned(),
        _ => said.to_owned(),
    }
}

/// Makes a group the root of a partition, or a member of the one above it. The kernel takes the word in any case, and says
/// in the file if it could not follow it.
fn partition(path: &Path, kind: &str) -> Result<(), LimitError> {
    write("cpu.dedicated", path, kind)?;
    let now = said(path);
    match now.strip_prefix("root").map(str::trim) {
        Some(why) if kind == "root" && !why.is_empty() => {
            // Else it would become one by itself, once it can.
            let undone = fs::write(path, "member");
            undone.err().into_iter().for_each(|e| tracing::error!("{}: {e}", path.display()));
            Err(LimitError::Dedicate { why: reason(why) })
        }
        _ => Ok(()),
    }
}

/// Of these files the kernel says no more than that a value is invalid (`validate_change` in kernel/cgroup/cpuset.c).
fn not_exclusive(error: LimitError) -> LimitError {
    match error {
        LimitError::Write { source, .. } if source.raw_os_error() == Some(libc::EINVAL) => {
            let why = "another group has some of them for itself, or may run on no others";
            LimitError::Dedicate { why: why.into() }
        }
        other => other,
    }
}

/// The kernel's words in `root invalid (why)`.
fn reason(rest: &str) -> String {
    rest.trim_start_matches("invalid").trim().trim_matches(['(', ')']).to_owned()
}

/// The group of a boot that has ended meanwhile.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}
