//! The monitor's loop: one thread, one epoll, nothing that a zone could hold up.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
};
use rustix::{
    fs::{FileType, fstat},
    stdio::{dup2_stderr, dup2_stdout},
};

use super::{
    boot::{self, Boot},
    connections::{Asker, Connections},
    console::Console,
    enter::{self, Task},
    link::Word,
    notify::{Heard, Notify},
    packet,
    poller::{Poller, Source},
    protocol::{Answer, Begin, News, Online, Phase, Request, VERSION},
    sessions::Sessions,
};
use crate::{
    events::now_ms,
    plan::{self, Plan, RunFolder, online::By},
    platform::{At, Failure},
    sys::{
        clone::{Clone3, Forked, clone3},
        exit_now, title,
    },
};

/// The monitor of one boot.
struct Monitor {
    plan: Plan,
    run: RunFolder,
    poller: Poller,
    signals: SignalFd,
    connections: Connections,
    boot: Boot,
    console: Option<Console>,
    sessions: Sessions,
    /// Connections that asked for the boot to go on.
    boot_asked: Vec<Asker>,
    /// Who hears what the zone says of its start, until that has been said.
    notify: Option<Notify>,
    online: Online,
}

/// Waits until `daemon` says for which boot, and runs its monitor until it is over.
pub fn run(daemon: OwnedFd) -> Result<(), Failure> {
    let mask: SigSet = [Signal::SIGCHLD].into_iter().collect();
    mask.thread_block().map_err(io::Error::from).at("block", "signals")?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
    let signals = signals.map_err(io::Error::from).at("watch", "signals")?;
    let poller = Poller::new().at("make", "an epoll")?;
    poller.add(&signals, Source::Signals).at("watch", "signals")?;
    let Some((Begin { folder, straight }, fds)) = packet::receive(&daemon).at("hear from", "the daemon")?
    else {
        return Ok(());
    };
    drop(daemon);
    let [listener, log] =
        <[OwnedFd; 2]>::try_from(fds).map_err(|_| Errno::EBADMSG).at("take", "what was handed over")?;
    dup2_stdout(&log).at("use", "the log")?;
    dup2_stderr(&log).at("use", "the log")?;
    drop(log);
    let program = std::env::args().next().unwrap_or_default();
    title::set(&format!("{program}\0{}", folder.display()));
    let folder = RunFolder(folder);
    let plan = read_plan(&folder.plan())?;
    let connections = Connections::new(listener, &poller).at("watch", "the control socket")?;
    let (notify, socket) = plan.is_notified().then(|| Notify::start(&poller)).transpose()?.unzip();
    let boot = Boot::start(&plan, straight, socket, &poller)?;
    let (sessions, boot_asked) = (Sessions::default(), Vec::new());
    let mut monitor = Monitor {
        plan,
        run: folder,
        poller,
        signals,
        connections,
        boot,
        console: None,
        sessions,
        boot_asked,
        notify,
        online: Online::default(),
    };
    monitor.watch()
}

fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let data = fs::read(path).at("read", path.display())?;
    let plan: Plan = serde_json::from_slice(&data).map_err(io::Error::from).at("read", path.display())?;
    if plan.version != plan::VERSION {
        let wrong =
            io::Error::other(format!("its version is {}, this monitor has {}", plan.version, plan::VERSION));
        return Err(wrong).at("use", path.display());
    }
    Ok(plan)
}

impl Monitor {
    fn watch(&mut self) -> Result<(), Failure> {
        loop {
            let timeout = [self.sessions.timeout(), self.connections.timeout()].into_iter().flatten().min();
            let sources = self.poller.wait(timeout).at("wait for", "events")?;
            self.connections.listen(&self.poller);
            for source in sources {
                self.handle(source);
            }
            self.sessions.expire();
            if matches!(self.boot.phase(), Phase::Ended(_)) {
                self.sessions.finish(&self.poller);
            }
            for opened in self.sessions.take_opened() {
                self.connections.answer(opened.asker, Answer::Session { pid: opened.pid }, &opened.fds);
            }
            if let Phase::Ended(record) = self.boot.phase() {
                // Everything in the zone's pid namespace dies with its first process; the sessions' commands
                // are reaped here before that process can be.
                let record = record.clone();
                while self.console.as_mut().is_some_and(Console::drain) {}
                self.notify.take().into_iter().for_each(Notify::end);
                let written = write_record(&self.run, &record).at("write", self.run.exit().display());
                // A daemon that listens needs no file.
                self.connections.tell_all(&News::Phase { init: None, phase: Phase::Ended(record) });
                return written;
            }
        }
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Listener => {
                let hello = News::Hello {
                    version: VERSION,
                    boot: self.plan.zone.boot,
                    pid: std::process::id(),
                    init: self.init_pid(),
                    phase: self.boot.phase().clone(),
                    online: self.online.clone(),
                };
                self.connections.accept(&self.poller, &hello);
            }
            Source::Signals => self.reap(),
            Source::Builder => {
                let news = self.boot.builder_says();
                self.spread(news);
            }
            Source::Init => {
                let news = self.boot.init_says();
                self.spread(news);
            }
            Source::Console => {
                if let Some(console) = &mut self.console {
                    console.drain();
                }
            }
            Source::Watcher(number) => {
                if let Some(console) = &mut self.console {
                    console.typed(number);
                }
            }
            Source::Connection(number) => {
                if let Some((asker, request, fds)) = self.connections.request(number) {
                    self.carry_out(asker, request, fds);
                }
            }
            Source::Client(number) => self.sessions.client_says(number, &self.poller),
            Source::Task(number) => drop(self.sessions.heard(number, &self.poller)),
            Source::Notify => drop(self.listen()),
        }
    }

    /// Hears what the zone says of its start. Whether there was anything.
    fn listen(&mut self) -> bool {
        match self.notify.as_ref().and_then(Notify::heard) {
            Some(Heard::Ready) => self.come_online(),
            Some(Heard::Status { text }) => {
                self.online.status = Some(text);
                self.connections.tell_all(&News::Online { online: self.online.clone() });
            }
            None => return false,
        }
        true
    }

    /// The zone is online from now on, unless it was already.
    fn come_online(&mut self) {
        if self.online.since_ms.is_none() {
            self.online.since_ms = Some(now_ms());
            self.connections.tell_all(&News::Online { online: self.online.clone() });
        }
    }

    fn init_pid(&self) -> Option<u32> {
        self.boot.init().map(|(pid, _)| *pid as u32)
    }

    fn spread(&mut self, news: boot::News) {
        match news {
            boot::News::None => {}
            boot::News::Terminal(pty) => {
                self.console = Console::new(pty, self.plan.console.clone(), &self.poller).ok()
            }
            boot::News::Phase => {
                let phase = self.boot.phase().clone();
                if phase == Phase::Running {
                    for asker in std::mem::take(&mut self.boot_asked) {
                        self.connections.answer(asker, Answer::Done, &[]);
                    }
                }
                if phase == Phase::Running && self.plan.online.by == By::Running {
                    self.come_online();
                }
                self.connections.tell_all(&News::Phase { init: self.init_pid(), phase });
            }
        }
    }

    fn reap(&mut self) {
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::EINTR) => {}
                Err(_) | Ok(WaitStatus::StillAlive) => return,
                Ok(status) if self.is_listener(status) => {
                    // What it said last may still be in its socket.
                    while self.listen() {}
                    self.notify = None;
                }
                Ok(status) => {
                    self.sessions.reaped(status, &self.poller);
                    self.boot.reaped(status);
                }
            }
        }
    }

    fn carry_out(&mut self, asker: Asker, request: Request, fds: Vec<OwnedFd>) {
        let answer = match request {
            Request::Boot => match self.boot.phase() {
                Phase::Ready => {
                    self.boot_asked.push(asker);
                    self.boot.go();
                    return;
                }
                Phase::Running => Answer::Done,
                _ => failed("the zone is not ready"),
            },
            Request::Signal { signal } => self.signal_init(signal),
            Request::Online if *self.boot.phase() == Phase::Running => {
                self.come_online();
                Answer::Done
            }
            Request::Online => failed("the zone does not run"),
            Request::Console => match self.console.as_mut().map(|c| c.attach(&self.poller)) {
                Some(Ok(socket)) => {
                    return self.connections.answer(asker, Answer::Session { pid: None }, &[socket]);
                }
                Some(Err(e)) => failed(e),
                None => failed("the zone has no console yet"),
            },
            Request::Exec { spec } => match self.check_streams(if spec.tty { 0 } else { 3 }, &fds) {
                Ok(()) => match self.start(asker, Task::Exec(spec, fds)) {
                    Ok(()) => return,
                    Err(failure) => failed(failure),
                },
                Err(why) => failed(why),
            },
            Request::Copy { path, into } => match self.check_streams(1, &fds) {
                Ok(()) => match fds
                    .into_iter()
                    .next()
                    .map(|pipe| self.start(asker, Task::Copy { path, into, pipe }))
                {
                    Some(Ok(())) | None => return,
                    Some(Err(failure)) => failed(failure),
                },
                Err(why) => failed(why),
            },
        };
        self.connections.answer(asker, answer, &[]);
    }

    /// Only pipes go into a zone: a folder of the host's would be a way out of it, a terminal could be typed on.
    fn check_streams(&self, wanted: usize, fds: &[OwnedFd]) -> Result<(), &'static str> {
        if !matches!(self.boot.phase(), Phase::Running) {
            return Err("the zone does not run");
        }
        if fds.len() != wanted {
            return Err("the wrong number of descriptors came with the request");
        }
        let pipe = |fd: &OwnedFd| {
            fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        };
        if fds.iter().all(pipe) { Ok(()) } else { Err("a descriptor that is no pipe came with the request") }
    }

    fn is_listener(&self, status: WaitStatus) -> bool {
        status.pid().zip(self.notify.as_ref()).is_some_and(|(pid, notify)| notify.is_listener(pid.as_raw()))
    }

    fn signal_init(&self, signal: i32) -> Answer {
        let Some((_, init)) = self.boot.init() else { return failed("the zone has no first process") };
        match crate::sys::signals::send(init.as_fd(), signal) {
            Ok(()) => Answer::Done,
            Err(e) => failed(e),
        }
    }

    fn start(&mut self, asker: Asker, task: Task) -> Result<(), Failure> {
        let (_, init) = self.boot.init().ok_or(Errno::ESRCH).at("find", "the zone's first process")?;
        let (number, theirs) = self.sessions.open(asker, &self.poller).at("open", "a session")?;
        match clone3(Clone3::default()).at("fork", "into the zone")? {
            Forked::Child => match enter::run(&self.plan, init, &task, &theirs) {
                Ok(()) => exit_now(0),
                Err(failure) => {
                    let word = Word::Failed { why: failure.to_string(), code: 125 };
                    let _ = packet::send(&theirs, &word, &[]);
                    exit_now(125)
                }
            },
            Forked::Parent { pid, pidfd } => {
                self.sessions.ushered(number, pid, pidfd);
                Ok(())
            }
        }
    }
}

fn failed(why: impl ToString) -> Answer {
    Answer::Failed { why: why.to_string() }
}

/// The monitor's last word, whole or not at all.
fn write_record(run: &RunFolder, record: &super::protocol::ExitRecord) -> io::Result<()> {
    let (path, draft) = (run.exit(), run.0.join("exit.json.new"));
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(draft, path)
}
