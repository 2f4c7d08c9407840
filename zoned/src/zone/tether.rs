//! The daemon's end of a zone's monitor: a connection to its `control.sock` and a pidfd.
//!
//! A task reads what the monitor says into a `watch`, and hands its answers to whoever asked. The
//! monitor's end is known by two things, in this order: the connection closes, then the pidfd says that the
//! process is gone (one that only hangs is killed). Nobody else reaps a monitor that is a child of this process.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{oneshot, watch as watched},
    time::timeout,
};

use crate::{
    events::escape,
    monitor::{
        packet,
        protocol::{Answer, Asked, ExitRecord, News, Online, Phase, Request, VERSION},
    },
    sys::readiness::watch,
};

/// How long a monitor may take for its first word and for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a monitor may take to exit once it has hung up.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a monitor could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum TetherError {
    /// Nobody listens.
    #[error("the monitor's control socket cannot be reached")]
    Connect(#[source] io::Error),
    /// Its process cannot be watched.
    #[error("monitor {0}: cannot be watched")]
    Watch(u32, #[source] io::Error),
    /// It closed the connection.
    #[error("the zone's monitor ended")]
    Ended,
    /// It says nothing.
    #[error("the zone's monitor does not answer")]
    Silent,
    /// It speaks another protocol.
    #[error("the zone's monitor speaks version {0} of the protocol, this zoned {VERSION}")]
    Version(u32),
    /// It refused, and says why.
    #[error("{0}")]
    Refused(String),
}

/// What is known of a boot.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// First process of the zone, in the host's numbering, once there is one.
    pub init: Option<u32>,
    /// How far it has come.
    pub phase: Phase,
    /// Whether the zone is online. Its words are escaped.
    pub online: Online,
    /// The monitor is no more.
    pub gone: bool,
}

impl Seen {
    /// How the boot ended, once it has: by the monitor's word, or, if it died before it could say, unknown.
    pub fn ended(&self) -> Option<Result<ExitRecord, ()>> {
        match &self.phase {
            Phase::Ended(record) => Some(Ok(record.clone())),
            _ => self.gone.then_some(Err(())),
        }
    }
}

type Waiting = oneshot::Sender<Result<(Option<u32>, Vec<OwnedFd>), TetherError>>;

/// A living, or just ended, monitor. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Tether {
    /// Number of the boot.
    pub boot: u64,
    /// Its process.
    pub pid: u32,
    /// Its process, held so that the number cannot come to mean another one.
    pidfd: Arc<OwnedFd>,
    socket: Arc<AsyncFd<OwnedFd>>,
    /// Requests that wait for their answer, by number. The reading task takes from it.
    waiting: Arc<Mutex<BTreeMap<u64, Waiting>>>,
    /// Number of the next request.
    next: Arc<AtomicU64>,
    seen: watched::Receiver<Seen>,
}

impl Tether {
    /// Connects to the monitor that listens in a run folder.
    pub async fn connect(run: &Path) -> Result<Self, TetherError> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let socket = dial(run).and_then(|socket| watch(socket, both)).map_err(TetherError::Connect)?;
        let socket = Arc::new(socket);
        let hello = timeout(PATIENCE, read(&socket)).await.map_err(|_| TetherError::Silent)?;
        let Some((News::Hello { version, boot, pid, init, phase, online }, _)) =
            hello.map_err(TetherError::Connect)?
        else {
            return Err(TetherError::Ended);
        };
        if version != VERSION {
            return Err(TetherError::Version(version));
        }
        let pidfd = open_pidfd(pid).map_err(|e| TetherError::Watch(pid, e))?;
        let (send, seen) = watched::channel(Seen { init, phase, online: escaped(online), gone: false });
        let tether = Self {
            boot,
            pid,
            pidfd: Arc::new(pidfd),
            socket,
            waiting: Arc::default(),
            next: Arc::default(),
            seen,
        };
        tokio::spawn(tether.clone().listen(send));
        Ok(tether)
    }

    /// What is known now.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until something is true of what is known.
    pub async fn until<T>(&self, mut is: impl FnMut(&Seen) -> Option<T>) -> T {
        let mut seen = self.seen.clone();
        loop {
            if let Some(value) = is(&seen.borrow_and_update()) {
                return value;
            }
            if seen.changed().await.is_err() {
                // The reading task sets `gone` before it goes; only a runtime that shuts down takes it before that.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the zone's first process, or the monitor, has ended.
    pub async fn ended(&self) -> Result<ExitRecord, ()> {
        self.until(Seen::ended).await
    }

    /// Waits until the monitor is gone.
    pub async fn gone(&self) {
        self.until(|seen| seen.gone.then_some(())).await;
    }

    /// Asks for something. Returns what an opened session gave.
    pub async fn ask(
        &self,
        request: &Request,
        fds: &[OwnedFd],
    ) -> Result<(Option<u32>, Vec<OwnedFd>), TetherError> {
        let (send, answer) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(id, send);
        let answered = async {
            // After the insertion: whoever empties `waiting` has said so before.
            if self.seen.borrow().gone {
                return Err(TetherError::Ended);
            }
            let packet = Asked { id, request };
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            let sent = self.socket.async_io(Interest::WRITABLE, |socket| packet::send(socket, &packet, &fds));
            sent.await.map_err(|e| match e.kind() {
                io::ErrorKind::BrokenPipe => TetherError::Ended,
                _ => TetherError::Refused(e.to_string()),
            })?;
            answer.await.unwrap_or(Err(TetherError::Ended))
        };
        let answered = timeout(PATIENCE, answered).await.unwrap_or(Err(TetherError::Silent));
        // An answer that comes later finds nobody, and its descriptors are closed.
        lock(&self.waiting).remove(&id);
        answered
    }

    /// Kills the monitor.
    pub fn kill(&self) {
        // Gone already is what is wanted.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    async fn listen(self, seen: watched::Sender<Seen>) {
        loop {
            match read(&self.socket).await {
                Ok(Some((News::Hello { .. }, _))) => {}
                Ok(Some((News::Phase { init, phase }, _))) => {
                    seen.send_modify(|s| (s.init, s.phase) = (init.or(s.init), phase));
                }
                Ok(Some((News::Online { online }, _))) => {
                    seen.send_modify(|s| s.online = escaped(online));
                }
                Ok(Some((News::Answer { to, answer }, fds))) => self.answer(to, answer, fds),
                Ok(None) | Err(_) => break,
            }
        }
        if timeout(FAREWELL, self.death()).await.is_err() {
            tracing::warn!(pid = self.pid, "a monitor hung up but did not exit; killing it");
            self.kill();
            self.death().await;
        }
        seen.send_modify(|s| s.gone = true);
        lock(&self.waiting).clear();
    }

    fn answer(&self, id: u64, answer: Answer, fds: Vec<OwnedFd>) {
        let answer = match answer {
            Answer::Done => Ok((None, Vec::new())),
            Answer::Session { pid } => Ok((pid, fds)),
            Answer::Failed { why } => Err(TetherError::Refused(escape(why.as_bytes()))),
        };
        if let Some(waiting) = lock(&self.waiting).remove(&id) {
            // Whoever asked may have gone.
            let _ = waiting.send(answer);
        }
    }

    /// Waits until the process is dead, and reaps it if it is a child.
    async fn death(&self) {
        let pidfd = self.pidfd.try_clone().and_then(|pidfd| watch(pidfd, Interest::READABLE));
        if let Ok(pidfd) = pidfd {
            let _ = pidfd.readable().await;
        }
        // ECHILD: adopted, so the host's init reaps it.
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

fn escaped(online: Online) -> Online {
    Online { status: online.status.map(|text| escape(text.as_bytes())), ..online }
}

/// A pidfd of a process.
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Listens in a run folder. The path of a Unix socket has 107 bytes at most (unix(7)): the folder is named by a
/// descriptor.
pub fn listen(run: &Path) -> io::Result<OwnedFd> {
    let socket = packet_socket(SocketFlags::CLOEXEC)?;
    let (address, _folder) = address(run)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

fn dial(run: &Path) -> io::Result<OwnedFd> {
    let socket = packet_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let (address, _folder) = address(run)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

fn packet_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn address(run: &Path) -> io::Result<(SocketAddrUnix, OwnedFd)> {
    let folder = rustix::fs::open(run, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd());
    Ok((SocketAddrUnix::new(path)?, folder))
}

async fn read(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(News, Vec<OwnedFd>)>> {
    socket.async_io(Interest::READABLE, |socket| packet::receive(socket)).await
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
