//! One daemon per run folder, per state folder and per group of all zones, and only one that may do what a zone needs.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::StartError;

/// Numbers of capabilities(7).
const SYS_ADMIN: u32 = 21;
/// See [`SYS_ADMIN`].
pub(super) const SYS_RESOURCE: u32 = 24;

/// How long the lock of a daemon that is gone may outlive it: a daemon killed while it started a program leaves a
/// child that has its descriptors until its exec.
const HANDOVER: Duration = Duration::from_secs(2);

/// Refuses whoever could not do the work.
pub(super) fn require_root() -> Result<(), StartError> {
    if !rustix::process::geteuid().is_root() {
        return Err(StartError::NotRoot);
    }
    if has_capability(SYS_ADMIN) { Ok(()) } else { Err(StartError::NoSysAdmin) }
}

/// Whether a capability is in effect.
pub(super) fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    effective & (1 << number) != 0
}

/// Takes a folder; the lock goes with the file, at the latest with the process.
pub(super) fn take(folder: &Path) -> Result<File, StartError> {
    let path: PathBuf = folder.join("zoned.lock");
    let fault = |source: io::Error| StartError::Io { path: path.clone(), doing: "lock", source };
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(fault)?;
    let owner = |mut file: &File| {
        let mut pid = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut pid));
        pid.trim().to_owned()
    };
    if !wait(&file, || runs(&owner(&file))).map_err(fault)? {
        return Err(StartError::Running {
            folder: folder.to_owned(),
            pid: format!(" (pid {})", owner(&file)),
        });
    }
    let write =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    write.map_err(fault)?;
    Ok(file)
}

/// Takes a group, making it if it is not there: its folder is locked itself, since nothing else can be in it.
pub(super) fn take_group(group: &Path) -> Result<File, StartError> {
    let fault = |source| StartError::Io { path: group.to_owned(), doing: "lock", source };
    match fs::create_dir(group) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(fault(e)),
        _ => {}
    }
    let folder = File::open(group).map_err(fault)?;
    match wait(&folder, || false).map_err(fault)? {
        true => Ok(folder),
        false => Err(StartError::Running { folder: group.to_owned(), pid: String::new() }),
    }
}

/// Locks a file; false if another has it, at once if that `runs`.
fn wait(file: &File, runs: impl Fn() -> bool) -> io::Result<bool> {
    let deadline = Instant::now() + HANDOVER;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if runs() || Instant::now() >= deadline => return Ok(false),
            // Nothing tells when the lock of a process that is gone is: it is the kernel's to wake nobody.
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Whether a process is there and has not ended.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}
