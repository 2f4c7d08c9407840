//! One boot, from the builder's fork to PID 1's end.

use std::{io, os::fd::OwnedFd};

use nix::sys::wait::WaitStatus;
use zoned_api::report::Exit;

use super::{
    builder,
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
    builder: Option<i32>,
    /// Its socket, until it is closed.
    builder_socket: Option<OwnedFd>,
    /// PID 1, once it is born.
    init: Option<(i32, OwnedFd)>,
    /// PID 1's socket, until its exec.
    link: Option<OwnedFd>,
    /// Go on from ready without being asked.
    straight: bool,
    /// PID 1 was told to exec; its socket's closing now means that it did.
    told_to_go: bool,
    /// How PID 1 ended, once it has.
    ended: Option<WaitStatus>,
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
    /// Forks the builder. `notify` is the socket that is to be bound in the zone, and is kept by nobody here.
    pub fn start(
        plan: &Plan,
        straight: bool,
        notify: Option<OwnedFd>,
        poller: &Poller,
    ) -> Result<Self, Failure> {
        let (ours, theirs) = packet::pair().at("make", "a socket pair")?;
        let (link, init) = packet::pair().at("make", "a socket pair")?;
        let builder = match clone3(Clone3::default()).at("fork", "the builder")? {
            Forked::Child => run_builder(plan, &theirs, init, notify),
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
            builder: Some(builder),
            builder_socket: Some(ours),
            init: None,
            link: Some(link),
            straight,
            told_to_go: false,
            ended: None,
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
        let Some(socket) = &self.builder_socket else { return News::None };
        match packet::receive::<Word>(socket) {
            Ok(Some((Word::Born { pid }, mut fds))) => {
                self.init = fds.pop().map(|pidfd| (pid, pidfd));
                return News::Phase;
            }
            Ok(Some((Word::Failed { why, .. }, _))) => self.failure = Some(why),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.builder_socket = None,
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
        if self.builder.take_if(|builder| *builder == pid).is_some() {
            // What it said last: that PID 1 was born, and why it could not go on.
            for _ in 0..2 {
                self.builder_says();
            }
        } else if self.init.as_ref().is_none_or(|(init, _)| *init == pid) {
            // PID 1, spoken of or not: it may be killed before the builder gets to say that it was born.
            self.ended = Some(status);
        }
        match (&self.init, self.ended) {
            // It is in groups of the zone's; it has nothing left to do, or will see that there is nothing.
            _ if self.builder.is_some() => false,
            (None, _) => self.end(Exit::Unknown),
            (Some(_), None) => false,
            (Some(_), Some(status)) => {
                // Its terminal, that it is ready, why it failed, and the end: more it cannot have said.
                for _ in 0..4 {
                    self.init_says();
                }
                self.end(exit_of(status))
            }
        }
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

fn run_builder(plan: &Plan, monitor: &OwnedFd, init: OwnedFd, notify: Option<OwnedFd>) -> ! {
    match builder::run(plan, monitor, init, notify) {
        Ok(()) => exit_now(0),
        Err(failure) => {
            let word = Word::Failed { why: failure.to_string(), code: 125 };
            let _ = packet::send(monitor, &word, &[]);
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
