//! One boot, from the builder's fork to PID 1's end.

use std::{io, os::fd::OwnedFd};

use nix::sys::wait::WaitStatus;
use zoned_api::report::Exit;

use super::{
    builder::{self, Ends},
    link::{Go, Word},
    packet,
    poller::{Poller, Source},
    protocol::{ExitRecord, Phase},
};
use crate::{
    plan::Plan,
    platform::{At, Failure, console::Pty},
    sys::{
        clone::{Clone3, Forked, clone3},
        exit_now,
    },
};

/// How far the boot has come, and who brings it on.
#[derive(Debug)]
pub struct Boot {
    number: u64,
    phase: Phase,
    /// The builder, until it is reaped.
    builder: Option<(i32, OwnedFd)>,
    /// PID 1, once it is born.
    init: Option<(i32, OwnedFd)>,
    /// PID 1's socket, until its exec.
    link: Option<OwnedFd>,
    /// Go on from ready without being asked.
    straight: bool,
    /// PID 1 was told to exec; its socket's closing now means that it did.
    told_to_go: bool,
    failure: Option<String>,
}

/// What has come of what was heard.
#[derive(Debug)]
pub enum News {
    /// Nothing that others need to know.
    None,
    /// The phase is another one.
    Phase,
    /// The console's terminal.
    Terminal(Pty),
}

impl Boot {
    /// Forks the builder.
    pub fn start(plan: &Plan, straight: bool, poller: &Poller) -> Result<Self, Failure> {
        let (ours, theirs) = packet::pair().at("make", "a socket pair")?;
        let (link, init) = packet::pair().at("make", "a socket pair")?;
        let builder = match clone3(Clone3::default()).at("fork", "the builder")? {
            Forked::Child => run_builder(plan, Ends { monitor: theirs, init }),
            Forked::Parent { pid, .. } => pid,
        };
        for fd in [&ours, &link] {
            rustix::io::ioctl_fionbio(fd, true).at("prepare", "a socket")?;
        }
        poller.add(&ours, Source::Builder).at("watch", "the builder")?;
        poller.add(&link, Source::Init).at("watch", "the zone's first process")?;
        Ok(Self {
            number: plan.zone.boot,
            phase: Phase::Building,
            builder: Some((builder, ours)),
            init: None,
            link: Some(link),
            straight,
            told_to_go: false,
            failure: None,
        })
    }

    /// How far it has come.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// PID 1 in the host's numbering, and a descriptor of it.
    pub fn init(&self) -> Option<&(i32, OwnedFd)> {
        self.init.as_ref()
    }

    /// Hears the builder.
    pub fn builder_says(&mut self) -> News {
        let Some((_, socket)) = &self.builder else { return News::None };
        match packet::receive::<Word>(socket) {
            Ok(Some((Word::Born { pid }, mut fds))) => {
                self.init = fds.pop().map(|pidfd| (pid, pidfd));
                return News::Phase;
            }
            Ok(Some((Word::Failed { why, .. }, _))) => self.failure = Some(why),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            _ => {
                if let Some((_, socket)) = &mut self.builder
                    && let Ok(spare) = packet::pair()
                {
                    // Closed: replaced by one that nothing is ever heard of, until the builder is reaped.
                    *socket = spare.0;
                }
            }
        }
        News::None
    }

    /// Hears PID 1.
    pub fn init_says(&mut self) -> News {
        let Some(link) = &self.link else { return News::None };
        match packet::receive::<Word>(link) {
            Ok(Some((Word::Terminal, fds))) => match <[OwnedFd; 2]>::try_from(fds) {
                Ok([master, slave]) => News::Terminal(Pty { master, slave }),
                Err(_) => News::None,
            },
            Ok(Some((Word::Ready, _))) if self.straight => {
                self.go();
                News::None
            }
            Ok(Some((Word::Ready, _))) => {
                self.phase = Phase::Ready;
                News::Phase
            }
            Ok(Some((Word::Failed { why, .. }, _))) => {
                self.failure = Some(why);
                News::None
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => News::None,
            _ => {
                self.link = None;
                let runs = self.told_to_go && self.failure.is_none();
                if runs && matches!(self.phase, Phase::Building | Phase::Ready) {
                    self.phase = Phase::Running;
                    return News::Phase;
                }
                News::None
            }
        }
    }

    /// Lets PID 1 go on to its exec.
    pub fn go(&mut self) {
        if let Some(link) = &self.link {
            self.told_to_go = packet::send(link, &Go::On, &[]).is_ok();
        }
    }

    /// A child was reaped; says whether the boot is over with it.
    pub fn reaped(&mut self, status: WaitStatus) -> bool {
        let Some(pid) = status.pid().map(nix::unistd::Pid::as_raw) else { return false };
        if self.builder.as_ref().is_some_and(|(builder, _)| *builder == pid) {
            self.builder_says();
            self.builder = None;
            // Without PID 1 there is nothing more to come.
            return self.init.is_none() && self.end(Exit::Unknown);
        }
        if self.init.as_ref().is_some_and(|(init, _)| *init == pid) {
            while self.link.is_some() {
                self.init_says();
            }
            return self.end(exit_of(status));
        }
        false
    }

    fn end(&mut self, exit: Exit) -> bool {
        let ran = self.phase == Phase::Running;
        let exit = if ran || self.failure.is_none() { exit } else { Exit::Unknown };
        let lost = || (!ran).then(|| "its first process ended before it ran".to_owned());
        let failure = self.failure.take().or_else(lost);
        self.phase = Phase::Ended(ExitRecord { boot: self.number, exit, failure });
        true
    }
}

fn run_builder(plan: &Plan, ends: Ends) -> ! {
    match builder::run(plan, &ends) {
        Ok(()) => exit_now(0),
        Err(failure) => {
            let word = Word::Failed { why: failure.to_string(), code: 125 };
            let _ = packet::send(&ends.monitor, &word, &[]);
            exit_now(125)
        }
    }
}

/// What PID 1's wait status means. A reboot(2) inside ends it with SIGHUP for a restart and SIGINT for a halt or
/// power-off (reboot(2), "Behavior inside PID namespaces").
fn exit_of(status: WaitStatus) -> Exit {
    match status {
        WaitStatus::Exited(_, code) => Exit::Exited { code: code as u8 },
        WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGHUP, _) => Exit::Rebooted,
        WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGINT, _) => Exit::PoweredOff,
        WaitStatus::Signaled(_, signal, _) => Exit::Killed { signal: signal as u8 },
        _ => Exit::Unknown,
    }
}
