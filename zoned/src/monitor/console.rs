//! The console: a terminal of the zone's that is always drained, into a bounded log and to whoever watches.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};

use super::poller::{Poller, Source};
use crate::{plan::ConsolePlan, platform::console::Pty};

/// Bytes taken from the terminal at one go, so that a zone that floods it cannot starve the rest.
const GULP: usize = 16 * 1024;

/// The log: one file and one older generation.
#[derive(Debug)]
struct Log {
    plan: ConsolePlan,
    file: Option<File>,
    written: u64,
}

impl Log {
    fn open(plan: ConsolePlan) -> Self {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&plan.log).ok();
        let written = file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        Self { plan, file, written }
    }

    /// A full disk loses output, never the zone.
    fn write(&mut self, bytes: &[u8]) {
        if self.written >= self.plan.max_bytes {
            let mut old = self.plan.log.clone().into_os_string();
            old.push(".1");
            self.file = None;
            let _ = std::fs::rename(&self.plan.log, old);
            *self = Self::open(self.plan.clone());
        }
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            self.written += bytes.len() as u64;
        }
    }
}

/// The console of a running zone.
#[derive(Debug)]
pub struct Console {
    master: OwnedFd,
    /// Held so that the terminal is never hung up: else the master would be readable for ever, with an error.
    _slave: OwnedFd,
    log: Log,
    watchers: BTreeMap<u32, OwnedFd>,
    next: u32,
}

impl Console {
    /// Takes the terminal into care.
    pub fn new(pty: Pty, plan: ConsolePlan, poller: &Poller) -> io::Result<Self> {
        let flags = fcntl_getfl(&pty.master)?;
        fcntl_setfl(&pty.master, flags | OFlags::NONBLOCK)?;
        poller.add(&pty.master, Source::Console)?;
        Ok(Self {
            master: pty.master,
            _slave: pty.slave,
            log: Log::open(plan),
            watchers: BTreeMap::new(),
            next: 0,
        })
    }

    /// Takes what the terminal shows; false when there was nothing.
    pub fn drain(&mut self) -> bool {
        let mut bytes = vec![0; GULP];
        let Ok(count @ 1..) = rustix::io::read(&self.master, &mut bytes) else { return false };
        let shown = &bytes[..count];
        self.log.write(shown);
        // A watcher that lags loses what it could not take; one that is gone is let go.
        self.watchers.retain(|_, watcher| {
            let sent = send(&*watcher, shown, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            matches!(sent, Ok(_) | Err(Errno::AGAIN))
        });
        true
    }

    /// A new watcher: its end of a stream socket.
    pub fn attach(&mut self, poller: &Poller) -> io::Result<OwnedFd> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        poller.add(&ours, Source::Watcher(self.next))?;
        self.watchers.insert(self.next, ours);
        self.next += 1;
        Ok(theirs)
    }

    /// Types what a watcher wrote. The terminal's own buffer is the bound: what it has no room for is lost, as on
    /// a real line.
    pub fn typed(&mut self, number: u32) {
        let Some(watcher) = self.watchers.get(&number) else { return };
        let mut bytes = [0; 1024];
        match recv(watcher, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((count @ 1.., _)) => {
                let _ = rustix::io::write(&self.master, &bytes[..count]);
            }
            Err(Errno::AGAIN) => {}
            _ => {
                self.watchers.remove(&number);
            }
        }
    }
}
