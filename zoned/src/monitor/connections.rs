//! The daemon's connections to the control socket.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{SocketFlags, accept_with};

use super::{
    packet,
    poller::{Poller, Source},
    protocol::{Answer, Asked, News, Request},
};

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
}

impl Connections {
    /// Takes the listening socket into care.
    pub fn new(listener: OwnedFd, poller: &Poller) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        poller.add(&listener, Source::Listener)?;
        Ok(Self { listener, all: BTreeMap::new(), next: 0 })
    }

    /// Accepts whoever waits and greets them.
    pub fn accept(&mut self, poller: &Poller, hello: &News) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(connection) = accept_with(&self.listener, flags) {
            let greeted = packet::send(&connection, hello, &[]).is_ok();
            if greeted && poller.add(&connection, Source::Connection(self.next)).is_ok() {
                self.all.insert(self.next, connection);
                self.next += 1;
            }
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
