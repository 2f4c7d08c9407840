//! How the kernel's own scheduler weighs groups, where that can be chosen (Linux 7.3, `sched/cgroup_mode` in debugfs).
//!
//! Its default there, `concur`, multiplies a group's weight by the number of its busy tasks: shares mean nothing then. `smp`
//! is what every kernel did before. The mode is the whole host's: what it was is noted in the run folder, and put back when
//! no zone is left.
//!
//! debugfs need not be mounted. A mount of its own that is attached nowhere shows the same files, and nobody else any.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode as Rights, OFlags, openat},
    io::Errno,
    mount::MountAttrFlags,
};
use serde::{Deserialize, Serialize};

use crate::{
    platform::{At, Failure, rootfs::new_file_system},
    store::{self, atomic::Keep, record::VERSION},
};

const FILE: &str = "sched/cgroup_mode";

/// The mode in which shares hold.
const FAIR: &str = "smp";

/// What was before.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    version: u32,
    mode: String,
}

/// The mode in force; none where the kernel has no choice, and shares hold.
///
/// # Errors
/// debugfs cannot be looked at: the kernel is locked down, or denies it.
pub fn current() -> Result<Option<String>, Failure> {
    let Some(mut file) = open(OFlags::RDONLY)? else { return Ok(None) };
    let mut text = String::new();
    file.read_to_string(&mut text).at("read", FILE)?;
    Ok(Some(chosen(&text).to_owned()))
}

/// Whether shares hold in a mode.
pub fn is_fair(mode: &str) -> bool {
    mode == FAIR
}

/// Sees to it that shares hold, as far as this host lets itself be told.
pub(super) fn set(run_dir: &Path) {
    let changed = current().and_then(|mode| match mode.filter(|mode| !is_fair(mode)) {
        None => Ok(None),
        Some(mode) => write(run_dir, mode).map(Some),
    });
    match changed {
        Ok(None) => {}
        Ok(Some(mode)) => tracing::info!(
            "the scheduler's cgroup_mode was {mode} and is {FAIR} now: else shares do not hold"
        ),
        Err(e) => tracing::warn!("whether shares hold is not known: {e}"),
    }
}

fn write(run_dir: &Path, mode: String) -> Result<String, Failure> {
    let before = Before { version: VERSION, mode };
    // Noted before it is done, so that it can be undone whatever happens.
    let noted = store::save(&record(run_dir), &before, Keep::ThroughExit);
    noted.map_err(std::io::Error::other).at("note what it was:", FILE)?;
    choose(FAIR)?;
    Ok(before.mode)
}

/// Puts back what was before, if that was changed here and nobody has changed it since.
pub(super) fn put_back(run_dir: &Path) {
    let record = record(run_dir);
    let Ok(before) = store::load::<Before>(&record) else { return };
    let undone = current().and_then(|now| match now {
        Some(now) if is_fair(&now) => choose(&before.mode),
        _ => Ok(()),
    });
    match undone {
        Ok(()) => drop(std::fs::remove_file(&record)),
        Err(e) => tracing::warn!("the scheduler's cgroup_mode stays {FAIR}, and was {}: {e}", before.mode),
    }
}

fn record(run_dir: &Path) -> PathBuf {
    run_dir.join("cgroup-mode.json")
}

fn choose(mode: &str) -> Result<(), Failure> {
    let Some(mut file) = open(OFlags::WRONLY)? else { return Ok(()) };
    file.write_all(mode.as_bytes()).at("write to", FILE)
}

/// The file, if the kernel has it.
fn open(how: OFlags) -> Result<Option<File>, Failure> {
    let none = std::iter::empty();
    let root = match new_file_system("debugfs", none, MountAttrFlags::MOUNT_ATTR_NOEXEC) {
        // The kernel was built without.
        Err(e) if e.errno() == Some(libc::ENODEV) => return Ok(None),
        other => other?,
    };
    match openat(&root, FILE, how | OFlags::CLOEXEC, Rights::empty()) {
        Err(Errno::NOENT) => Ok(None),
        other => Ok(Some(other.at("open", FILE)?.into())),
    }
}

/// The one of several words that the kernel has put in parentheses.
fn chosen(text: &str) -> &str {
    let marked = |word: &&str| word.starts_with(['(', '[']);
    let word = text.split_whitespace().find(marked).unwrap_or(text.trim());
    word.trim_matches(['(', ')', '[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marked_word_is_the_mode() {
        assert_eq!(chosen("up smp (concur) max tasks \n"), "concur");
        assert_eq!(chosen("(smp) \n"), "smp");
        assert_eq!(chosen("smp\n"), "smp");
        assert!(is_fair(chosen("up (smp) concur\n")) && !is_fair(chosen("up smp (concur)\n")));
    }

    #[test]
    fn to_look_changes_none_of_the_hosts_mounts() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: takes root");
            return;
        }
        let mounts = || {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            mounts.lines().filter(|line| line.contains(" - debugfs ")).count()
        };
        let before = mounts();
        match current() {
            Ok(mode) => println!("cgroup_mode: {mode:?}"),
            Err(e) => println!("skipped: {e}"),
        }
        assert_eq!(mounts(), before);
        let root = new_file_system("debugfs", std::iter::empty(), MountAttrFlags::MOUNT_ATTR_NOEXEC);
        if let Ok(root) = root {
            openat(&root, ".", OFlags::RDONLY | OFlags::DIRECTORY, Rights::empty()).unwrap();
        }
    }

    #[test]
    fn what_was_not_changed_is_not_put_back() {
        let run = tempfile::tempdir().unwrap();
        put_back(run.path());
        assert!(!record(run.path()).exists());
    }
}
