//! Bytes from one descriptor to another, on a thread of their own.
//!
//! Threads, because a regular file or a terminal shared with other programs can be made neither pollable nor
//! non-blocking for tokio. Each is told of the session's end by a pipe that hangs up.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read, retry_on_intr, write},
};

use super::keys::{Keys, Typed};

/// Bytes moved at once; a pipe holds as many.
const CHUNK: usize = 64 * 1024;

/// How long output is awaited beyond the session's end, although something in the zone still holds it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long nothing must come before the output counts as complete.
    quiet: Duration,
    /// How long others may go on writing.
    most: Duration,
    /// How many bytes must have come by then.
    held: usize,
}

impl Patience {
    /// All that a command itself wrote is in the pipe when it ends, and a pipe holds no more than this
    /// (`/proc/sys/fs/pipe-max-size`).
    pub(crate) const COMMAND: Self =
        Self { quiet: Duration::from_millis(200), most: Duration::from_secs(2), held: 1 << 20 };

    /// What was typed last is still to be answered.
    pub(crate) const CONSOLE: Self =
        Self { quiet: Duration::from_secs(1), most: Duration::from_secs(5), held: 0 };
}

/// What a wait brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// There is something to read, or its end.
    Data,
    /// The session has ended.
    Ended,
}

/// Waits until there is something to read, or `end` hangs up.
fn wait(from: BorrowedFd<'_>, end: BorrowedFd<'_>) -> io::Result<Wait> {
    let mut fds =
        [PollFd::from_borrowed_fd(from, PollFlags::IN), PollFd::from_borrowed_fd(end, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, None))?;
    Ok(if fds[0].revents().is_empty() { Wait::Ended } else { Wait::Data })
}

/// Output: copies until end of file, also beyond `end` as long as something of the command may come.
pub(crate) fn drain(from: impl AsFd, to: impl AsFd, end: impl AsFd, patience: Patience) -> io::Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut buffer = vec![0; CHUNK];
    let mut beyond: Option<(Instant, usize)> = None;
    loop {
        if beyond.is_none() && wait(from, end.as_fd())? == Wait::Ended {
            beyond = Some((Instant::now(), 0));
        }
        if let Some((since, bytes)) = beyond {
            let overdue = since.elapsed() > patience.most && bytes >= patience.held;
            if overdue || !comes(from, patience.quiet)? {
                return Ok(());
            }
        }
        let n = match retry_on_intr(|| read(from, &mut buffer)) {
            // A terminal's master whose slave is closed, and a socket whose peer died.
            Ok(0) | Err(Errno::IO | Errno::CONNRESET) => return Ok(()),
            Err(Errno::AGAIN) => continue,
            read => read?,
        };
        write_all(to, &buffer[..n])?;
        if let Some((_, bytes)) = &mut beyond {
            *bytes += n;
        }
    }
}

/// Whether something comes before it counts as quiet.
fn comes(from: BorrowedFd<'_>, quiet: Duration) -> io::Result<bool> {
    let quiet = Timespec::try_from(quiet).map_err(|_| Errno::INVAL)?;
    let mut fds = [PollFd::from_borrowed_fd(from, PollFlags::IN)];
    Ok(retry_on_intr(|| poll(&mut fds, Some(&quiet)))? > 0)
}

/// How a feed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// The input came to its end, or nobody reads it any more.
    All,
    /// The session ended first.
    Ended,
    /// The person at the terminal typed the escape.
    Detached,
}

/// Input: copies until end of file, `end`, or, with `keys`, the escape.
pub(crate) fn feed(
    from: impl AsFd,
    to: impl AsFd,
    end: impl AsFd,
    mut keys: Option<Keys>,
) -> io::Result<Fed> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut buffer = vec![0; CHUNK];
    loop {
        if wait(from, end.as_fd())? == Wait::Ended {
            return Ok(Fed::Ended);
        }
        let n = match retry_on_intr(|| read(from, &mut buffer)) {
            Ok(0) | Err(Errno::IO) => return Ok(Fed::All),
            Err(Errno::AGAIN) => continue,
            read => read?,
        };
        let typed = match &mut keys {
            Some(keys) => keys.pass(&buffer[..n]),
            None => Typed { bytes: buffer[..n].to_vec(), detach: false },
        };
        match write_all(to, &typed.bytes) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(Fed::All),
            done => done?,
        }
        if typed.detach {
            return Ok(Fed::Detached);
        }
    }
}

/// Writes all, also to a descriptor that somebody else has made non-blocking.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry_on_intr(|| write(to, bytes)) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::AGAIN) => {
                retry_on_intr(|| poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None))?;
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        thread,
    };

    use rustix::pipe::pipe;

    use super::*;

    const COMMAND: Patience = Patience::COMMAND;

    #[test]
    fn output_is_whole_although_its_reader_is_slow_and_the_session_over() {
        let ((from, writer), (end, ended), (mut shown, to)) =
            (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
        File::from(writer).write_all(&[7; 50_000]).unwrap();
        drop(ended);
        let drained = thread::spawn(move || drain(from, to, end, COMMAND));
        let mut all = Vec::new();
        let mut slow = File::from(std::mem::replace(&mut shown, pipe().unwrap().0));
        while let Ok(n @ 1..) = Read::by_ref(&mut slow).take(9_000).read_to_end(&mut all) {
            assert!(n <= 9_000);
            thread::sleep(COMMAND.quiet / 4);
        }
        assert_eq!(all.len(), 50_000);
        drained.join().unwrap().unwrap();
    }

    #[test]
    fn a_process_left_behind_holds_nobody_up() {
        let ((from, held), (end, ended), (_shown, to)) = (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
        drop(ended);
        let began = Instant::now();
        drain(from, to, end, COMMAND).unwrap();
        assert!((COMMAND.quiet..COMMAND.quiet * 10).contains(&began.elapsed()), "{:?}", began.elapsed());
        drop(held);
    }

    #[test]
    fn one_that_goes_on_writing_neither() {
        let ((from, held), (end, ended)) = (pipe().unwrap(), pipe().unwrap());
        drop(ended);
        let flood = thread::spawn(move || while write(&held, &[0; 4096]).is_ok() {});
        let began = Instant::now();
        drain(from, File::options().write(true).open("/dev/null").unwrap(), end, COMMAND).unwrap();
        assert!(began.elapsed() < COMMAND.most * 5, "{:?}", began.elapsed());
        flood.join().unwrap();
    }

    #[test]
    fn input_ends_with_its_reader_its_source_or_the_session() {
        let ((from, typed), (end, ended), (reader, to)) = (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
        write(&typed, b"one\r~.two").unwrap();
        assert_eq!(feed(&from, &to, &end, Some(Keys::new())).unwrap(), Fed::Detached);
        let mut buffer = [0; 16];
        assert_eq!(read(&reader, &mut buffer).unwrap(), 4);
        drop(reader);
        write(&typed, b"x").unwrap();
        assert_eq!(feed(&from, &to, &end, None).unwrap(), Fed::All);
        drop(ended);
        assert_eq!(feed(&from, &to, &end, None).unwrap(), Fed::Ended);
        drop(typed);
        assert_eq!(feed(&from, &to, &end, None).unwrap(), Fed::All);
    }
}
