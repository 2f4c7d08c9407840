//! Locks between everybody who works on the same folders, this process and others.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use super::Cancel;

/// How often a lock held by somebody else is tried again: flock(2) itself cannot be cancelled by another thread.
const RETRY: Duration = Duration::from_millis(50);

/// A lock by the file at a path, which exists only while somebody holds it or waits for it.
#[derive(Debug)]
pub(super) struct FileLock {
    path: PathBuf,
    _file: File,
}

impl FileLock {
    /// Waits for the lock; none if cancelled meanwhile. `waiting` is called once if it must wait.
    pub(super) fn acquire(path: &Path, cancel: &Cancel, waiting: impl FnOnce()) -> io::Result<Option<Self>> {
        let mut waiting = Some(waiting);
        while !cancel.is_cancelled() {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    if let Some(tell) = waiting.take() {
                        tell();
                    }
                    std::thread::sleep(RETRY);
                }
                Err(e) => return Err(e.into()),
                // The one before may have removed the file after this one had opened it.
                Ok(()) if same(&file, path)? => {
                    return Ok(Some(FileLock { path: path.to_owned(), _file: file }));
                }
                Ok(()) => {}
            }
        }
        Ok(None)
    }

    /// Removes the file of a lock whose holder died, and of no other.
    pub(super) fn sweep(path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && same(&file, path)? {
            drop(FileLock { path: path.to_owned(), _file: file });
        }
        Ok(())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // While it is held. If it cannot be removed it locks all the same.
        let _ = fs::remove_file(&self.path);
    }
}

fn same(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        there => there.map(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("lock");
        let (inside, entered) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..3 {
                        let lock = FileLock::acquire(&path, &Cancel::default(), || {}).unwrap().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        entered.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(entered.into_inner(), 12);
        assert!(!path.exists());
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let top = tempfile::tempdir().unwrap();
        let (held, left) = (top.path().join("held"), top.path().join("left"));
        let _held = FileLock::acquire(&held, &Cancel::default(), || {}).unwrap().unwrap();
        fs::write(&left, "").unwrap();
        for path in [&held, &left] {
            FileLock::sweep(path).unwrap();
        }
        assert!(held.exists() && !left.exists());
    }

    #[test]
    fn waiting_can_be_cancelled() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("lock");
        let _held = FileLock::acquire(&path, &Cancel::default(), || {}).unwrap().unwrap();
        let cancel = Cancel::default();
        let tell = || cancel.cancel();
        assert!(FileLock::acquire(&path, &cancel, tell).unwrap().is_none());
    }
}
