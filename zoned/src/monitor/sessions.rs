//! Sessions: commands and copies inside the zone, each with a client at the other end of a packet socket.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::WaitStatus,
    },
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid as RawPid, Signal as RawSignal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};
use zoned_api::session::{FromSession, ToSession};

use super::{
    connections::Asker,
    link::Word,
    packet,
    poller::{Poller, Source},
};

/// How long a task may take from its usher's fork to its exec. After its birth it spends all of that on what the zone
/// controls.
const START: Duration = Duration::from_secs(20);

/// How long ushers may take to die when the zone is over.
const DEATH: Duration = Duration::from_secs(1);

/// One session.
#[derive(Debug)]
struct Session {
    /// Our end of the client's socket; none once the client is gone.
    client: Option<OwnedFd>,
    /// The client's end, until it is handed out.
    theirs: Option<OwnedFd>,
    /// The task's socket, until its exec.
    task: Option<OwnedFd>,
    /// Who brings the task in.
    usher: Option<i32>,
    /// The task, once it is born.
    process: Option<(i32, OwnedFd)>,
    /// Its exit code, once it is reaped. The session ends when the task's socket is closed as well: the usher has
    /// it too, and may be slower than a short command.
    exit: Option<u8>,
    /// Who waits for the answer.
    asked_by: Asker,
    /// The task must have begun by then; none once it has.
    deadline: Option<Instant>,
    /// What the client will be told at the end, where it is not the exit status.
    verdict: Option<FromSession>,
}

/// What the daemon is to be answered.
#[derive(Debug)]
pub struct Opened {
    /// Who asked.
    pub asker: Asker,
    /// The task in the host's numbering.
    pub pid: Option<u32>,
    /// Session socket, and the terminal's master if there is one.
    pub fds: Vec<OwnedFd>,
}

/// All sessions of the zone.
#[derive(Debug, Default)]
pub struct Sessions {
    all: BTreeMap<u32, Session>,
    next: u32,
    opened: Vec<Opened>,
    /// Ushers that are not reaped yet, of sessions that may be over.
    ushers: BTreeMap<i32, OwnedFd>,
    /// Children reaped while somebody's birth had not been heard of yet, and their exit codes: a command may be over
    /// before its usher gets to say that it was born.
    unclaimed: BTreeMap<i32, u8>,
}

impl Sessions {
    /// A new session whose usher is about to be forked; returns its number, and the task's end of its socket.
    pub fn open(&mut self, asker: Asker, poller: &Poller) -> io::Result<(u32, OwnedFd)> {
        let (client, theirs) = packet::pair()?;
        let (task, tasks) = packet::pair()?;
        for ours in [&client, &task] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        poller.add(&client, Source::Client(self.next))?;
        poller.add(&task, Source::Task(self.next))?;
        let session = Session {
            client: Some(client),
            theirs: Some(theirs),
            task: Some(task),
            usher: None,
            process: None,
            exit: None,
            asked_by: asker,
            deadline: Some(Instant::now() + START),
            verdict: None,
        };
        let number = self.next;
        self.all.insert(number, session);
        self.next += 1;
        Ok((number, tasks))
    }

    /// The session's usher is on its way.
    pub fn ushered(&mut self, number: u32, pid: i32, pidfd: OwnedFd) {
        if let Some(session) = self.all.get_mut(&number) {
            session.usher = Some(pid);
        }
        self.ushers.insert(pid, pidfd);
    }

    /// Hears a task that has not come to its exec; says whether there was anything to hear.
    pub fn heard(&mut self, number: u32, poller: &Poller) -> bool {
        let Some(session) = self.all.get_mut(&number) else { return false };
        let Some(task) = &session.task else { return false };
        let mut fds = Vec::new();
        match packet::receive::<Word>(task) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(Some((Word::Born { pid }, mut fds))) => {
                let exit = self.unclaimed.remove(&pid);
                // Said once, by the usher. The task has this socket too, and might be made to name anybody's number.
                if session.process.is_none() && (exit.is_some() || is_child(pid)) {
                    session.process = fds.pop().map(|pidfd| (pid, pidfd));
                    session.exit = exit;
                }
                self.forget_unclaimed();
                return true;
            }
            Ok(Some((Word::Terminal, terminal))) => fds = terminal,
            Ok(Some((Word::Begun, _))) => session.deadline = None,
            Ok(Some((Word::Failed { why, code }, _))) => {
                session.verdict = Some(FromSession::Ended { code, why: Some(why) });
            }
            Ok(Some((Word::Finished, _))) => {
                session.verdict = Some(FromSession::Ended { code: 0, why: None })
            }
            // Closed by its exec, or by its death, which its exit status tells.
            Ok(Some(_) | None) | Err(_) => {
                session.deadline = None;
                if let Some(task) = session.task.take() {
                    let _ = poller.remove(&task);
                }
            }
        }
        let closed = session.task.is_none();
        // A usher that failed before it gave birth leaves no process to wait for.
        let never_born = closed && session.process.is_none();
        self.answer(number, fds);
        if never_born {
            self.end(number, FromSession::Ended { code: 125, why: Some("the zone is ending".into()) });
        }
        self.end_reaped();
        true
    }

    /// Queues the answer to the daemon, once.
    fn answer(&mut self, number: u32, mut terminal: Vec<OwnedFd>) {
        let Some(session) = self.all.get_mut(&number) else { return };
        if let Some(theirs) = session.theirs.take() {
            let mut fds = vec![theirs];
            fds.append(&mut terminal);
            let pid = session.process.as_ref().map(|(pid, _)| *pid as u32);
            self.opened.push(Opened { asker: session.asked_by, pid, fds });
        }
    }

    /// Answers for the daemon that have come up since the last call.
    pub fn take_opened(&mut self) -> Vec<Opened> {
        std::mem::take(&mut self.opened)
    }

    /// Carries out what a client says; lets its task know when it is gone.
    pub fn client_says(&mut self, number: u32, poller: &Poller) {
        let Some(session) = self.all.get_mut(&number) else { return };
        let Some(client) = &session.client else { return };
        let said = packet::receive::<ToSession>(client);
        let signal = match said {
            Ok(Some((ToSession::Signal { signal }, _))) => Signal::try_from(i32::from(signal)).ok(),
            _ => {
                let _ = poller.remove(client);
                session.client = None;
                Some(Signal::SIGHUP)
            }
        };
        // The task leads a process group of its own from its setsid on; until it is reaped the number is its. It may be
        // reaped while its usher still holds its socket.
        if let (Some(signal), Some((pid, _)), None) = (signal, &session.process, session.exit) {
            let _ = killpg(Pid::from_raw(*pid), signal);
        }
    }

    /// A child of the monitor's was reaped: ends the session it was of, if any.
    pub fn reaped(&mut self, status: WaitStatus, poller: &Poller) {
        let (pid, code) = match status {
            WaitStatus::Exited(pid, code) => (pid, code as u8),
            WaitStatus::Signaled(pid, signal, _) => (pid, 128u8.saturating_add(signal as u8)),
            _ => return,
        };
        if self.ushers.remove(&pid.as_raw()).is_some() {
            return;
        }
        let of = |s: &&mut Session| s.process.as_ref().is_some_and(|(p, _)| *p == pid.as_raw());
        match self.all.values_mut().find(of) {
            Some(session) => session.exit = Some(code),
            None => drop(self.unclaimed.insert(pid.as_raw(), code)),
        }
        // What it said last may still be in its socket, its birth even.
        for number in self.all.keys().copied().collect::<Vec<_>>() {
            self.heard(number, poller);
        }
        self.forget_unclaimed();
        self.end_reaped();
    }

    /// With no birth to be heard of, nobody will ask for them: their numbers may come to be others'.
    fn forget_unclaimed(&mut self) {
        if self.all.values().all(|s| s.process.is_some()) {
            self.unclaimed.clear();
        }
    }

    /// Ends the sessions whose process is reaped and whose socket is closed.
    fn end_reaped(&mut self) {
        let over = |s: &Session| s.exit.filter(|_| s.task.is_none());
        let over: Vec<(u32, u8)> = self.all.iter().filter_map(|(n, s)| Some((*n, over(s)?))).collect();
        for (number, code) in over {
            self.end(number, FromSession::Ended { code, why: None });
        }
    }

    /// The zone is over: ends what is left, whether its ushers have said all or not.
    pub fn finish(&mut self, poller: &Poller) {
        self.end_ushers();
        for number in self.all.keys().copied().collect::<Vec<_>>() {
            while self.heard(number, poller) {}
            let verdict = match self.all.get(&number).map(|s| s.exit) {
                Some(Some(code)) => FromSession::Ended { code, why: None },
                _ => FromSession::Ended { code: 125, why: Some("the zone is ending".into()) },
            };
            self.end(number, verdict);
        }
    }

    fn end(&mut self, number: u32, verdict: FromSession) {
        self.answer(number, Vec::new());
        if let Some(session) = self.all.remove(&number)
            && let Some(client) = session.client
        {
            // The socket's buffer holds this one packet whether the client reads or not.
            let _ = packet::send(client, &session.verdict.unwrap_or(verdict), &[]);
        }
    }

    /// Time until the next deadline.
    pub fn timeout(&self) -> Option<Duration> {
        let next = self.all.values().filter_map(|s| s.deadline).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Kills tasks that are past their deadline; their deaths end their sessions. A session whose task is not born yet ends
    /// at once: an usher that does not come through may not be able to die either (in a frozen cgroup of version 1), and
    /// a task that is born all the same finds its socket closed.
    pub fn expire(&mut self) {
        let now = Instant::now();
        let mut unborn = Vec::new();
        for (number, session) in self.all.iter_mut().filter(|(_, s)| s.deadline.is_some_and(|at| at <= now)) {
            session.deadline = None;
            let why = format!("it did not start within {} s", START.as_secs());
            session.verdict = Some(FromSession::Ended { code: 125, why: Some(why) });
            let usher = session.usher.and_then(|pid| self.ushers.get(&pid));
            if let Some(pidfd) = session.process.as_ref().map(|(_, pidfd)| pidfd).or(usher) {
                let _ = pidfd_send_signal(pidfd, RawSignal::KILL);
            }
            if session.process.is_none() {
                unborn.push(*number);
            }
        }
        for number in unborn {
            self.end(number, FromSession::Ended { code: 125, why: None });
        }
    }

    /// Kills the ushers there are and gives them a moment to be gone: they are in groups that are removed next.
    fn end_ushers(&mut self) {
        for pidfd in self.ushers.values() {
            let _ = pidfd_send_signal(pidfd, RawSignal::KILL);
        }
        let until = Instant::now() + DEATH;
        for pidfd in std::mem::take(&mut self.ushers).values() {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left));
        }
    }
}

/// Whether a number is that of a child of this process that is not reaped.
fn is_child(pid: i32) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    RawPid::from_raw(pid).is_some_and(|pid| waitid(WaitId::Pid(pid), look).is_ok())
}
