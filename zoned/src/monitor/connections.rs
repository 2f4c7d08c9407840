//! The daemon's connections to the control socket.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{SocketFlags, accept_with},
};

use super::{
    packet,
    poller::{Poller, Source},
    protocol::{Answer, Asked, News, Request},
};

/// How long nobody is listened to at most, after one could not be let in.
const DEAF: Duration = Duration::from_millis(100);

/// Who waits for an answer: a connection and the number it gave its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    connection: u32,
    id: u64,
}

/// All connections.
#[derive(Debug)]
pub struct Connections {
    listener: OwnedFd,
    all: BTreeMap<u32, OwnedFd>,
    next: u32,
    /// The listener is not waited for: who stands there could not be let in, and would be reported again at once.
    deaf: bool,
}

impl Connections {
    /// Takes the listening socket into care.
    pub fn new(listener: OwnedFd, poller: &Poller) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        poller.add(&listener, Source::Listener)?;
        Ok(Self { listener, all: BTreeMap::new(), next: 0, deaf: false })
    }

    /// Accepts whoever waits and greets them.
    pub fn accept(&mut self, poller: &Poller, hello: &News) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            let connection = match accept_with(&self.listener, flags) {
                Ok(connection) => connection,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return,
                // Without a descriptor left, mostly.
                Err(_) => return self.deaf = poller.remove(&self.listener).is_ok(),
            };
            let greeted = packet::send(&connection, hello, &[]).is_ok();
            if greeted && poller.add(&connection, Source::Connection(self.next)).is_ok() {
                self.all.insert(self.next, connection);
                self.next += 1;
            }
        }
    }

    /// How long to wait before somebody who could not be let in is tried again, if there is one.
    pub fn timeout(&self) -> Option<Duration> {
        self.deaf.then_some(DEAF)
    }

    /// Listens again, if that had to be given up: a descriptor may be free now.
    pub fn listen(&mut self, poller: &Poller) {
        if self.deaf {
            self.deaf = poller.add(&self.listener, Source::Listener).is_err();
        }
    }

    /// Next request of a connection; one that is closed or talks nonsense is let go.
    pub fn request(&mut self, number: u32) -> Option<(Asker, Request, Vec<OwnedFd>)> {
        match packet::receive::<Asked<Request>>(self.all.get(&number)?) {
            Ok(Some((asked, fds))) => Some((Asker { connection: number, id: asked.id }, asked.request, fds)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            _ => {
                self.all.remove(&number);
                None
            }
        }
    }

    /// Answers a connection. One that does not take its answers is let go: the daemon always does.
    pub fn answer(&mut self, asker: Asker, answer: Answer, fds: &[OwnedFd]) {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        if let Some(connection) = self.all.get(&asker.connection)
            && packet::send(connection, &News::Answer { to: asker.id, answer }, &fds).is_err()
        {
            self.all.remove(&asker.connection);
        }
    }

    /// Tells every connection.
    pub fn tell_all(&mut self, news: &News) {
        self.all.retain(|_, connection| packet::send(&*connection, news, &[]).is_ok());
    }
}
