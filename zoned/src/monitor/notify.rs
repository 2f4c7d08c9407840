//! What a zone says of its own start, by sd_notify(3): heard by a process of its own, the *listener*.
//!
//! ```text
//! zone's program ──datagrams──▶ /run/host/notify ═▶ listener ──Heard──▶ monitor ──News──▶ zoned
//! ```
//! The socket is made by the monitor and bound by PID 1 before its exec. What comes out of it is the zone's choice, and
//! with a descriptor it can make last even to refuse it: whoever closes the last one of a TCP socket with SO_LINGER
//! (socket(7)) waits until its peer has taken everything. So the listener takes it, at a pace of its own, and the monitor
//! waits for no more than the listener's own packets. When it has heard that the zone is ready it is gone, and with it the
//! last end of the socket.
//!
//! One process is believed: the first that spoke. That is the one which becomes the zone's program, and which introduces
//! itself before its exec, when nothing of the zone has run yet; the kernel vouches for its number (unix(7),
//! SCM_CREDENTIALS). The zone's root may take any number of the zone's for its own, and is free to: it is the zone.

use std::{
    fs::{self, Permissions},
    io::{self, IoSliceMut},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{PermissionsExt, chown},
            net::UnixDatagram,
        },
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with},
    process::{Signal, getpid, getppid, pidfd_send_signal, set_parent_process_death_signal},
};
use serde::{Deserialize, Serialize};

use super::{
    packet,
    poller::{Poller, Source},
};
use crate::{
    plan::online::NOTIFY_SOCKET,
    platform::{At, Failure},
    sys::{
        clone::{Clone3, Forked, clone3},
        exit_now, files,
    },
};

/// Largest datagram that is read, in bytes: systemd's own bound (PIPE_BUF).
const MAX_DATAGRAM: usize = 4096;

/// Most characters of a status that are kept.
const MAX_STATUS: usize = 160;

/// Time between two datagrams: a zone that floods the socket waits for itself, and takes next to nothing of the host.
const PACE: Duration = Duration::from_millis(2);

/// Time between two statuses.
const STATUS_PACE: Duration = Duration::from_secs(1);

/// How long a killed listener may take to be gone.
const DEATH: Duration = Duration::from_millis(100);

/// From the listener to the monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Heard {
    /// `READY=1`. Its last word.
    Ready,
    /// `STATUS=`: the zone's own words, cut.
    Status {
        /// What it says.
        text: String,
    },
}

/// The monitor's end.
#[derive(Debug)]
pub struct Notify {
    listener: (i32, OwnedFd),
    said: OwnedFd,
}

impl Notify {
    /// Forks the listener. Returns the socket to be bound in the zone, which nobody else keeps.
    pub fn start(poller: &Poller) -> Result<(Self, OwnedFd), Failure> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let socket = socket.at("make", "the notify socket")?;
        // Before anybody can send: each datagram comes with its sender.
        rustix::net::sockopt::set_socket_passcred(&socket, true).at("prepare", "the notify socket")?;
        let (said, saying) = packet::pair().at("make", "a socket pair")?;
        rustix::io::ioctl_fionbio(&said, true).at("prepare", "a socket")?;
        let monitor = getpid();
        match clone3(Clone3::default()).at("fork", "the listener")? {
            Forked::Child => {
                // Not even a listener that hangs outlives its monitor, which may die before this is said.
                let bound = set_parent_process_death_signal(Some(Signal::KILL));
                if bound.is_ok() && getppid() == Some(monitor) {
                    let _ = listen(&socket, &saying);
                }
                exit_now(0)
            }
            Forked::Parent { pid, pidfd } => {
                poller.add(&said, Source::Notify).at("watch", "the listener")?;
                Ok((Self { listener: (pid, pidfd), said }, socket))
            }
        }
    }

    /// What was heard next, if anything was.
    pub fn heard(&self) -> Option<Heard> {
        packet::receive::<Heard>(&self.said).ok().flatten().map(|(heard, _)| heard)
    }

    /// Whether a child's number is the listener's.
    pub fn is_listener(&self, pid: i32) -> bool {
        self.listener.0 == pid
    }

    /// Kills the listener, and gives it a moment to be gone: who looks for what is left of a zone finds nothing.
    pub fn end(self) {
        let (_, pidfd) = &self.listener;
        if pidfd_send_signal(pidfd, Signal::KILL).is_ok() {
            let moment = Timespec { tv_sec: 0, tv_nsec: DEATH.as_nanos() as i64 };
            let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&moment));
        }
    }
}

/// In PID 1, at home in the zone's root with nothing of the zone running: gives the socket its name. Only root may
/// speak there.
pub fn bind(socket: &OwnedFd) -> Result<(), Failure> {
    let path = Path::new(NOTIFY_SOCKET);
    let made = || -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        // Of an earlier boot, where a brand keeps /run.
        if let Err(e) = fs::remove_file(path)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        rustix::net::bind(socket, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))
    };
    made().at("make", NOTIFY_SOCKET)
}

/// In the process that becomes the zone's program, before its exec: it is the one to be believed. `user` is whose
/// number it is going to take.
pub fn introduce(user: u32) -> Result<(), Failure> {
    let introduced = || -> io::Result<()> {
        UnixDatagram::unbound()?.send_to(b"MAIN=1", NOTIFY_SOCKET)?;
        if user == 0 { Ok(()) } else { chown(NOTIFY_SOCKET, Some(user), None) }
    };
    introduced().at("speak at", NOTIFY_SOCKET)
}

/// The listener: until the zone is ready, or the monitor gone.
fn listen(socket: &OwnedFd, monitor: &OwnedFd) -> io::Result<()> {
    rustix::thread::set_name(c"zone-notify")?;
    files::close_all_but(&[socket, monitor])?;
    let (mut program, mut status) = (None, Status::default());
    loop {
        let now = Instant::now();
        let timeout = status.due(now).map(|due| due.saturating_duration_since(now));
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if let Some(Datagram { pid, text }) = receive(socket)?
            && *program.get_or_insert(pid) == pid
        {
            let said = Said::parse(&text);
            status.take(said.status);
            if said.ready {
                return packet::send(monitor, &Heard::Ready, &[]);
            }
        }
        if let Some(text) = status.next(Instant::now()) {
            packet::send(monitor, &Heard::Status { text }, &[])?;
        }
        std::thread::sleep(PACE);
    }
}

/// What was sent, and by whom in the monitor's numbering.
struct Datagram {
    pid: i32,
    text: Vec<u8>,
}

/// The next datagram, if there is one to be read: none that is too long, and none that brings descriptors. There is no
/// room for any here, so that the kernel closes them (unix(7), MSG_CTRUNC).
fn receive(socket: &OwnedFd) -> io::Result<Option<Datagram>> {
    let mut text = vec![0; MAX_DATAGRAM];
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut parts = [IoSliceMut::new(&mut text)];
    let got = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT);
    let got = match got {
        Ok(got) => got,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    if got.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Ok(None);
    }
    let sender = got.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
        _ => None,
    });
    let bytes = got.bytes;
    text.truncate(bytes);
    Ok(sender.map(|pid| Datagram { pid, text }))
}

/// What is of interest in a datagram (sd_notify(3): assignments, a line each).
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    ready: bool,
    status: Option<String>,
}

impl Said {
    fn parse(text: &[u8]) -> Self {
        let mut said = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                said.ready = true;
            } else if let Some(status) = line.strip_prefix(b"STATUS=") {
                said.status = Some(String::from_utf8_lossy(status).chars().take(MAX_STATUS).collect());
            }
        }
        said
    }
}

/// The last status, passed on now and then.
#[derive(Debug, Default)]
struct Status {
    /// Not passed on yet.
    fresh: Option<String>,
    passed_on: Option<Instant>,
}

impl Status {
    fn take(&mut self, status: Option<String>) {
        self.fresh = status.or(self.fresh.take());
    }

    /// When there is something to pass on, if there is.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.fresh.as_ref().map(|_| self.passed_on.map_or(now, |last| last + STATUS_PACE))
    }

    /// What is to be passed on.
    fn next(&mut self, now: Instant) -> Option<String> {
        self.due(now).filter(|due| *due <= now)?;
        self.passed_on = Some(now);
        self.fresh.take()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg, socketpair};

    use super::*;

    #[test]
    fn only_what_is_of_interest_is_taken_of_a_datagram() {
        let parse = Said::parse;
        assert!(parse(b"READY=1").ready && parse(b"STATUS=up\nREADY=1\n").ready);
        for other in
            [&b"READY=0"[..], b"READY=11", b" READY=1", b"XREADY=1", b"READY=1\0", b"RELOADING=1", b""]
        {
            assert_eq!(parse(other), Said::default(), "{other:?}");
        }
        assert_eq!(parse(b"STATUS=a\nSTATUS=b").status.unwrap(), "b");
        assert_eq!(
            parse(b"STATUS=\xff\x1b[2J").status.unwrap(),
            "\u{fffd}\x1b[2J",
            "to be escaped by who shows it"
        );
        let long = format!("STATUS={}", "ä".repeat(2000));
        assert_eq!(parse(long.as_bytes()).status.unwrap().chars().count(), MAX_STATUS);
    }

    #[test]
    fn the_last_status_is_passed_on_in_its_time() {
        let mut status = Status::default();
        let begun = Instant::now();
        assert_eq!((status.due(begun), status.next(begun)), (None, None));
        status.take(Some("one".into()));
        assert_eq!(status.next(begun).unwrap(), "one");
        for text in ["two", "three"] {
            status.take(Some(text.into()));
            status.take(None);
        }
        assert_eq!(status.next(begun + STATUS_PACE / 2), None);
        assert_eq!(status.due(begun), Some(begun + STATUS_PACE));
        assert_eq!(status.next(begun + STATUS_PACE).unwrap(), "three");
        assert_eq!(status.due(begun), None);
    }

    #[test]
    fn what_is_too_long_or_brings_descriptors_is_not_read_and_keeps_nothing_open() {
        let kind = (AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC);
        let (theirs, ours) = socketpair(kind.0, kind.1, kind.2, None).unwrap();
        rustix::net::sockopt::set_socket_passcred(&ours, true).unwrap();
        assert!(receive(&ours).unwrap().is_none(), "nothing was sent");
        send(&theirs, &[b'x'; MAX_DATAGRAM + 1], SendFlags::empty()).unwrap();
        assert!(receive(&ours).unwrap().is_none());
        let (read, write) = rustix::pipe::pipe().unwrap();
        for count in [1, 200] {
            let fds = vec![write.as_fd(); count];
            let mut space = vec![std::mem::MaybeUninit::uninit(); 2048];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            let text = [std::io::IoSlice::new(b"READY=1")];
            sendmsg(&theirs, &text, &mut control, SendFlags::empty()).unwrap();
            assert!(receive(&ours).unwrap().is_none(), "{count} descriptors");
        }
        drop(write);
        assert_eq!(
            rustix::io::read(&read, &mut [0_u8; 1]).unwrap(),
            0,
            "one of the descriptors is still open"
        );
        send(&theirs, b"READY=1", SendFlags::empty()).unwrap();
        let Datagram { pid, text } = receive(&ours).unwrap().unwrap();
        assert_eq!((pid as u32, text.as_slice()), (std::process::id(), &b"READY=1"[..]));
    }
}
