//! Network namespaces of a test's own: one that plays the host, one that plays the outside, and those of zones.
//!
//! None has a name: each lives as long as a descriptor or a process of the test does, so that a killed test leaves none.

use std::{fs::File, os::fd::AsRawFd, process::Command, thread};

use nix::sched::{CloneFlags, setns, unshare};

use crate::{Outcome, run};

/// A network namespace.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// A new one, with `lo` up.
    ///
    /// # Panics
    /// If it cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes something of the kernel's")]
    pub fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("unshare: {e}"));
            File::open("/proc/thread-self/ns/net").unwrap_or_else(|e| panic!("ns/net: {e}"))
        });
        let netns = Self(made.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        netns.ip("link set lo up");
        netns
    }

    /// That of a process.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(pid: u64) -> Self {
        Self(File::open(format!("/proc/{pid}/ns/net")).unwrap_or_else(|e| panic!("{pid}: {e}")))
    }

    /// Does something in it. Sockets that are opened there stay there.
    ///
    /// # Panics
    /// As `work` does.
    #[track_caller]
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let working = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("setns: {e}"));
                work()
            });
            working.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
        })
    }

    /// Runs a command in it.
    pub fn run(&self, command: Command) -> Outcome {
        self.within(|| run(command))
    }

    /// ip(8), which must succeed.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(arguments.split(' '));
        self.run(command).ok()
    }

    /// A path by which others of this process' commands find it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}
