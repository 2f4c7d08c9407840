//! How the kernel's own scheduler weighs groups, where that can be chosen (Linux 7.3, `sched/cgroup_mode` in debugfs).
//!
//! Its default there, `concur`, multiplies a group's weight by the number of its busy tasks: shares mean nothing then. `smp`
//! is what every kernel did before. The mode is the whole host's, so what it was is noted where every zoned of this host finds
//! it, in a file that each of them holds; whoever ends as the last, with no zone left, puts it back.
//!
//! debugfs need not be mounted. A mount of its own that is attached nowhere shows the same files, and nobody else any.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, Mode as Rights, OFlags, flock, openat},
    io::Errno,
    mount::MountAttrFlags,
};

use crate::platform::{At, Failure, rootfs::new_file_system};

const FILE: &str = "sched/cgroup_mode";

/// The mode in which shares hold.
const FAIR: &str = "smp";

/// Holds what the mode was before, in one word.
const BEFORE: &str = "/run/zoned-cgroup-mode";

/// A hold on the mode in which shares hold; none where the kernel has no other.
#[derive(Debug, Default)]
pub struct Held(Option<File>);

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
pub(super) fn hold() -> Held {
    let held = current().and_then(|mode| match mode {
        None => Ok(None),
        Some(mode) if is_fair(&mode) && !Path::new(BEFORE).exists() => Ok(None),
        Some(mode) => take(&mode).map(Some),
    });
    Held(held.unwrap_or_else(|e| {
        tracing::warn!("whether shares hold is not known: {e}");
        None
    }))
}

/// Notes what the mode is now and changes it, unless another zoned has. The file is held until this daemon ends.
fn take(mode: &str) -> Result<File, Failure> {
    let file = note(Path::new(BEFORE)).at("note what the scheduler's cgroup_mode was in", BEFORE)?;
    if !is_fair(mode) {
        // Noted before it is done, so that it can be undone whatever happens.
        file.write_all_at(mode.as_bytes(), 0).at("write to", BEFORE)?;
        choose(FAIR)?;
        tracing::info!("the scheduler's cgroup_mode was {mode} and is {FAIR} now: else shares do not hold");
    }
    Ok(file)
}

/// The file of the note, held together with others: the one that has this name, not one that was just removed.
fn note(path: &Path) -> std::io::Result<File> {
    loop {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        flock(&file, FlockOperation::LockShared)?;
        if std::fs::metadata(path)
            .is_ok_and(|named| Some(named.ino()) == file.metadata().ok().map(|own| own.ino()))
        {
            return Ok(file);
        }
    }
}

/// Lets go; the last one puts back what was before, if nobody has changed it since.
pub(super) fn put_back(Held(held): Held) {
    let Some(mut file) = held else { return };
    // Refused while another zoned holds it.
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let mut before = String::new();
    let undone = file.read_to_string(&mut before).at("read", BEFORE).and_then(|_| match current()? {
        Some(now) if is_fair(&now) && !before.is_empty() => choose(&before),
        _ => Ok(()),
    });
    match undone {
        Ok(()) => drop(std::fs::remove_file(BEFORE)),
        Err(e) => tracing::warn!("the scheduler's cgroup_mode stays {FAIR}, and was {before}: {e}"),
    }
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

    #[expect(clippy::print_stdout, reason = "a test says why it is skipped")]
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
    fn a_note_is_held_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        let (first, second) = (note(&path).unwrap(), note(&path).unwrap());
        let alone = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
        assert!(!alone(&first), "the other one holds it too");
        drop(second);
        assert!(alone(&first));
        std::fs::remove_file(&path).unwrap();
        let third = note(&path).unwrap();
        assert_ne!(third.metadata().unwrap().ino(), first.metadata().unwrap().ino());
    }
}
