//! Pipes for a command in a zone.
//!
//! A zone is handed pipes only: any other descriptor of the caller's (a folder, a device, a file of the host's)
//! would be a way out. A stream that already is an anonymous pipe goes in as it is; the others get a pipe and a
//! thread that carries the bytes.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use anyhow::{Context, Result};
use rustix::{
    fs::{FileType, fstat, fstatfs},
    pipe::{PipeFlags, pipe_with},
    stdio::{stderr, stdin, stdout},
};
use tokio::sync::oneshot;

use super::pump;

/// File system of anonymous pipes, magic.h. A named one is a file of the host's.
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// A stream that needs a pump.
#[derive(Debug)]
struct Output {
    name: &'static str,
    from: OwnedFd,
    to: OwnedFd,
}

/// The three streams of a command: the zone's ends, and what is to be pumped on this side.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Stdin, stdout, stderr for the command.
    pub(crate) given: Vec<OwnedFd>,
    input: Option<OwnedFd>,
    outputs: Vec<Output>,
}

impl Streams {
    /// From the caller's own streams; `no_stdin` gives an empty input.
    pub(crate) fn open(no_stdin: bool) -> Result<Self> {
        let mut outputs = Vec::new();
        let (input, their_stdin) = input(no_stdin).context("stdin")?;
        let their_stdout = output("stdout", stdout(), &mut outputs).context("stdout")?;
        // Where both go to the same place one pipe keeps their order.
        let shared = !outputs.is_empty() && same(stdout(), stderr());
        let their_stderr = match shared {
            true => their_stdout.try_clone(),
            false => output("stderr", stderr(), &mut outputs),
        };
        Ok(Self { given: vec![their_stdin, their_stdout, their_stderr.context("stderr")?], input, outputs })
    }

    /// Starts the pumps. The zone's ends must have been sent and dropped by then, or no end of file is ever seen.
    pub(crate) fn pump(self) -> Result<Pumps> {
        let (hung_up, end) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
        if let Some(to) = self.input {
            let hung_up = hung_up.try_clone().context("pipe")?;
            // Not waited for: it may sleep in a write that nobody reads any more.
            thread::spawn(move || pump::feed(stdin(), to, hung_up, None));
        }
        let mut running = Vec::new();
        for output in self.outputs {
            let hung_up = hung_up.try_clone().context("pipe")?;
            let (tell, told) = oneshot::channel();
            running.push((output.name, told));
            thread::spawn(move || tell.send(pump::drain(output.from, output.to, hung_up)));
        }
        Ok(Pumps { end, running })
    }
}

/// Pumps at work.
#[derive(Debug)]
pub(crate) struct Pumps {
    /// Dropped, it tells them that the command has ended.
    end: OwnedFd,
    running: Vec<(&'static str, oneshot::Receiver<io::Result<()>>)>,
}

impl Pumps {
    /// After the command's end: waits until what it wrote has been passed on.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.end);
        for (name, told) in self.running {
            match told.await {
                // The reader of our own output went away, as the command has been told by SIGPIPE.
                Ok(Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => {}
                Ok(done) => done.context(name)?,
                Err(_) => anyhow::bail!("{name}: the thread that carries it died"),
            }
        }
        Ok(())
    }
}

fn input(none: bool) -> io::Result<(Option<OwnedFd>, OwnedFd)> {
    if !none && is_pipe(stdin())? {
        return Ok((None, stdin().try_clone_to_owned()?));
    }
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok(((!none).then_some(ours), theirs))
}

fn output(name: &'static str, own: BorrowedFd<'_>, outputs: &mut Vec<Output>) -> io::Result<OwnedFd> {
    if is_pipe(own)? {
        return own.try_clone_to_owned();
    }
    let (from, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    outputs.push(Output { name, from, to: own.try_clone_to_owned()? });
    Ok(theirs)
}

fn is_pipe(fd: impl AsFd) -> io::Result<bool> {
    let fifo = FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Fifo;
    Ok(fifo && fstatfs(&fd)?.f_type as u64 == PIPEFS_MAGIC)
}

fn same(a: impl AsFd, b: impl AsFd) -> bool {
    let id = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    id(a.as_fd()).is_some_and(|id_a| Some(id_a) == id(b.as_fd()))
}
