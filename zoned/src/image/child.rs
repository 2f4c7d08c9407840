//! Reading from a child process by lines, without ever waiting past a cancellation.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Longest line taken, in bytes; the rest of a longer one is dropped.
const LONGEST: usize = 64 << 10;

/// How long a cancellation may go unseen.
const GLANCE: Duration = Duration::from_millis(100);

/// Calls `line` with each line of a pipe until its end. Every tenth of a second, and after each piece read,
/// `glance` is asked; it may act on the child, and the reading goes on until the pipe is closed.
pub(super) fn lines<R: Read + AsFd>(
    mut pipe: R,
    mut glance: impl FnMut(),
    mut line: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut held: Vec<u8> = Vec::new();
    let mut piece = [0; 8 << 10];
    loop {
        let ready = {
            let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
            let glance = Timespec { tv_sec: 0, tv_nsec: GLANCE.subsec_nanos().into() };
            match poll(&mut fds, Some(&glance)) {
                Err(Errno::INTR) => false,
                ready => ready? > 0,
            }
        };
        glance();
        if !ready {
            continue;
        }
        let n = match pipe.read(&mut piece) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            n => n?,
        };
        if n == 0 {
            if !held.is_empty() {
                line(&held);
            }
            return Ok(());
        }
        for byte in &piece[..n] {
            match byte {
                b'\n' => {
                    line(&held);
                    held.clear();
                }
                _ if held.len() < LONGEST => held.push(*byte),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_whole_and_bounded() {
        let (read, mut write) = io::pipe().unwrap();
        let mut got = Vec::new();
        std::thread::scope(|s| {
            s.spawn(move || {
                for part in [&b"one\ntw"[..], b"o\n\n", &vec![b'x'; 200_000], b"\nlast"] {
                    write.write_all(part).unwrap();
                }
            });
            lines(read, || {}, |line| got.push(line.to_vec())).unwrap();
        });
        let lengths: Vec<usize> = got.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 3, 0, LONGEST, 4]);
        assert_eq!((&got[1][..], &got[4][..]), (&b"two"[..], &b"last"[..]));
    }

    #[test]
    fn a_silent_child_does_not_keep_a_cancellation_from_being_seen() {
        let (read, write) = io::pipe().unwrap();
        let mut write = Some(write);
        let mut glances = 0;
        let glance = || {
            glances += 1;
            if glances == 2 {
                write = None;
            }
        };
        lines(read, glance, |_| {}).unwrap();
        assert!(glances >= 2);
    }
}
