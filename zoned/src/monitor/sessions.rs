//! Sessions: commands and copies inside the zone, each with a client at the other end of a packet socket.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::WaitStatus,
    },
    unistd::Pid,
};
use rustix::process::{Signal as RawSignal, pidfd_send_signal};
use zoned_api::session::{FromSession, ToSession};

use super::{
    connections::Asker,
    link::Word,
    packet,
    poller::{Poller, Source},
};

/// How long a task may take from its birth to its exec, all of which it spends on what the zone controls.
const START: Duration = Duration::from_secs(20);

/// One session.
#[derive(Debug)]
struct Session {
    /// Our end of the client's socket; none once the client is gone.
    client: Option<OwnedFd>,
    /// The client's end, until it is handed out.
    theirs: Option<OwnedFd>,
    /// The task's socket, until its exec.
    task: Option<OwnedFd>,
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
    /// Children reaped while somebody's birth had not been heard of yet, and their exit codes: a command may be over
    /// before its usher gets to say that it was born.
    unclaimed: BTreeMap<i32, u8>,
}

impl Sessions {
    /// A new session whose usher is about to be forked; returns the task's end of its socket.
    pub fn open(&mut self, asker: Asker, poller: &Poller) -> io::Result<OwnedFd> {
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
            process: None,
            exit: None,
            asked_by: asker,
            deadline: Some(Instant::now() + START),
            verdict: None,
        };
        self.all.insert(self.next, session);
        self.next += 1;
        Ok(tasks)
    }

    /// Hears a task that has not come to its exec; says whether there was anything to hear.
    pub fn heard(&mut self, number: u32, poller: &Poller) -> bool {
        let Some(session) = self.all.get_mut(&number) else { return false };
        let Some(task) = &session.task else { return false };
        let mut fds = Vec::new();
        match packet::receive::<Word>(task) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(Some((Word::Born { pid }, mut fds))) => {
                session.process = fds.pop().map(|pidfd| (pid, pidfd));
                session.exit = self.unclaimed.remove(&pid);
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
        // What it said last may still be in its socket, its birth even.
        for number in self.all.keys().copied().collect::<Vec<_>>() {
            self.heard(number, poller);
        }
        let of = |s: &&mut Session| s.process.as_ref().is_some_and(|(p, _)| *p == pid.as_raw());
        if let Some(session) = self.all.values_mut().find(of) {
            session.exit = Some(code);
        } else if self.all.values().any(|s| s.process.is_none()) {
            self.unclaimed.insert(pid.as_raw(), code);
        } else {
            self.unclaimed.clear();
        }
        self.end_reaped();
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

    /// Kills tasks that are past their deadline; their deaths end their sessions.
    pub fn expire(&mut self) {
        let now = Instant::now();
        for session in self.all.values_mut().filter(|s| s.deadline.is_some_and(|at| at <= now)) {
            session.deadline = None;
            if let Some((_, pidfd)) = &session.process {
                let why = format!("it did not start within {} s", START.as_secs());
                session.verdict = Some(FromSession::Ended { code: 125, why: Some(why) });
                let _ = pidfd_send_signal(pidfd.as_fd(), RawSignal::KILL);
            }
        }
    }
}
