//! epoll, by the names of what is waited for.

use std::{io, os::fd::AsFd, time::Duration};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The control socket.
    Listener,
    /// SIGCHLD.
    Signals,
    /// The builder's socket.
    Builder,
    /// PID 1's socket, before its exec.
    Init,
    /// The console's terminal.
    Console,
    /// A connection of the daemon's, by number.
    Connection(u32),
    /// Somebody who watches the console, by number.
    Watcher(u32),
    /// A session's client, by number.
    Client(u32),
    /// A session's task before its exec, by number.
    Task(u32),
    /// The listener at the notify socket.
    Notify,
}

impl Source {
    fn data(self) -> EventData {
        let (kind, number) = match self {
            Source::Listener => (0, 0),
            Source::Signals => (1, 0),
            Source::Builder => (2, 0),
            Source::Init => (3, 0),
            Source::Console => (4, 0),
            Source::Connection(n) => (5, n),
            Source::Watcher(n) => (6, n),
            Source::Client(n) => (7, n),
            Source::Task(n) => (8, n),
            Source::Notify => (9, 0),
        };
        EventData::new_u64((kind << 32) | u64::from(number))
    }

    fn from_data(data: EventData) -> Option<Self> {
        let number = data.u64() as u32;
        Some(match data.u64() >> 32 {
            0 => Source::Listener,
            1 => Source::Signals,
            2 => Source::Builder,
            3 => Source::Init,
            4 => Source::Console,
            5 => Source::Connection(number),
            6 => Source::Watcher(number),
            7 => Source::Client(number),
            8 => Source::Task(number),
            9 => Source::Notify,
            _ => return None,
        })
    }
}

/// What epoll(7) waits on. A descriptor leaves it by being closed.
#[derive(Debug)]
pub struct Poller {
    epoll: std::os::fd::OwnedFd,
}

impl Poller {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Waits for `fd` to be readable, or closed at the other end.
    pub fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, source.data(), EventFlags::IN)?)
    }

    /// No longer waits for `fd`: needed where a copy of it lives on elsewhere.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// What is ready, at the latest after `timeout`.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Source>> {
        let mut events = Vec::with_capacity(64);
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(events.iter().filter_map(|e| Source::from_data(e.data)).collect())
    }
}
