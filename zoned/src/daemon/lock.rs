//! One daemon per run folder, and only one that may do what a zone needs.

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

/// Takes the run folder; the lock goes with the file, at the latest with the process.
pub(super) fn take(run_dir: &Path) -> Result<File, StartError> {
    let path: PathBuf = run_dir.join("zoned.lock");
    let fault = |source: io::Error| StartError::Io { path: path.clone(), doing: "lock", source };
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(fault)?;
    let deadline = Instant::now() + HANDOVER;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(fault(e)),
            Err(TryLockError::WouldBlock) => {}
        }
        let mut pid = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut pid));
        let pid = pid.trim().to_owned();
        if runs(&pid) || Instant::now() >= deadline {
            return Err(StartError::Running { run_dir: run_dir.to_owned(), pid });
        }
        // Nothing tells when the lock of a process that is gone is: it is the kernel's to wake nobody.
        thread::sleep(Duration::from_millis(5));
    }
    let write =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    write.map_err(fault)?;
    Ok(file)
}

/// Whether a process is there and has not ended.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}
