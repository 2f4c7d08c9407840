//! Monitors that have been started and wait for a zone to boot.
//!
//! To start a program is a good part of a boot's time: exec, libraries, its first memory. So one is kept that has done
//! all of that; the boot that takes it finds it waiting, and the next one is started when that boot is over. A monitor
//! that waits holds nothing but a socket to this daemon, and goes when that closes, whatever ends the daemon.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{
    monitor::{packet, protocol::Begin},
    plan::RunFolder,
};

/// Starts monitors, and keeps one waiting.
#[derive(Debug)]
pub struct Monitors {
    program: PathBuf,
    /// Argument of one that waits, long enough for the run folder which it shows in its place.
    words: String,
    spare: Mutex<Option<Waiting>>,
}

impl Monitors {
    /// None waits yet. `program` is an absolute path.
    pub fn new(program: PathBuf, run_dir: &Path) -> Self {
        let room = RunFolder::of(run_dir, &Uuid::nil()).0.as_os_str().len();
        Self { program, words: format!("{:room$}", "(waits for a zone)"), spare: Mutex::default() }
    }

    /// The zone-monitor program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The one that waits, or a new one.
    pub fn take(&self) -> io::Result<Waiting> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        match spare.and_then(Waiting::living) {
            Some(waiting) => Ok(waiting),
            None => self.start(),
        }
    }

    /// Sees to it that one waits. What keeps it from that is told by the next boot, which needs one.
    pub fn refill(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        *spare = spare.take().and_then(Waiting::living).or_else(|| self.start().ok());
    }

    fn start(&self) -> io::Result<Waiting> {
        let (socket, theirs) = packet::pair()?;
        let mut command = Command::new(&self.program);
        command.arg(&self.words).env_clear().current_dir("/");
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit());
        Ok(Waiting { child: command.spawn()?, socket })
    }
}

/// A monitor that waits for its boot.
#[derive(Debug)]
pub struct Waiting {
    child: Child,
    /// Its stdin; it goes when this is closed.
    socket: OwnedFd,
}

impl Waiting {
    /// Itself, unless somebody has killed it meanwhile.
    fn living(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Hands it a boot whose plan is written: the control socket to listen on, and where it says what it does.
    pub fn begin(
        &self,
        folder: &RunFolder,
        straight: bool,
        listener: &OwnedFd,
        log: impl AsFd,
    ) -> io::Result<()> {
        let begin = Begin { folder: folder.0.clone(), straight };
        packet::send(&self.socket, &begin, &[listener.as_fd(), log.as_fd()])
    }

    /// The process, which goes its own way from here on.
    pub fn released(self) -> Child {
        self.child
    }

    /// There is no boot for it after all.
    pub fn end(mut self) {
        // Dead already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_died_is_not_handed_out() {
        let monitors = Monitors::new("/bin/cat".into(), Path::new("/run"));
        monitors.refill();
        let first = monitors.take().unwrap();
        let pid = first.pid();
        first.end();
        monitors.refill();
        let mut spare = monitors.spare.lock().unwrap();
        let child = &mut spare.as_mut().unwrap().child;
        child.kill().unwrap();
        child.wait().unwrap();
        let dead = child.id();
        drop(spare);
        let second = monitors.take().unwrap();
        assert!(second.pid() != dead && second.pid() != pid);
        second.end();
    }
}
