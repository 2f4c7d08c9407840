//! A pipe whose reads and writes can be given up.

use std::{
    io::{self, Read, Write},
    os::fd::OwnedFd,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, ioctl_fionbio, read, retry_on_intr, write},
};

/// One end of a pipe. Once `abort` hangs up, every operation fails.
#[derive(Debug)]
pub(crate) struct Abortable {
    pipe: OwnedFd,
    abort: OwnedFd,
}

impl Abortable {
    /// `abort` is the reading end of a pipe nobody writes to.
    pub(crate) fn new(pipe: OwnedFd, abort: OwnedFd) -> io::Result<Self> {
        // Our end only: the other has a description of its own.
        ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe, abort })
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.pipe, flags), PollFd::new(&self.abort, PollFlags::IN)];
        retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[1].revents().is_empty() {
            return Err(io::Error::other("interrupted"));
        }
        Ok(())
    }
}

impl Read for Abortable {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait(PollFlags::IN)?;
            match retry_on_intr(|| read(&self.pipe, &mut *into)) {
                Err(Errno::AGAIN) => {}
                done => return Ok(done?),
            }
        }
    }
}

impl Write for Abortable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.wait(PollFlags::OUT)?;
            match retry_on_intr(|| write(&self.pipe, bytes)) {
                Err(Errno::AGAIN) => {}
                done => return Ok(done?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn neither_a_full_nor_an_empty_pipe_holds_it_up() {
        let ((from, to), (abort, hang_up)) = (pipe().unwrap(), pipe().unwrap());
        let mut writer = Abortable::new(to, abort.try_clone().unwrap()).unwrap();
        let full = std::thread::spawn(move || writer.write_all(&[0; 1 << 20]).unwrap_err().to_string());
        let mut reader = Abortable::new(from, abort).unwrap();
        reader.read_exact(&mut [0; 1000]).unwrap();
        drop(hang_up);
        assert_eq!(full.join().unwrap(), "interrupted");
        assert!(reader.read(&mut [0]).is_err());
    }
}
