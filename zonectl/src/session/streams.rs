//! Pipes for a command in a zone.
//!
//! A zone is handed pipes made for the occasion, and a thread here carries the bytes of each. Any other descriptor
//! of the caller's (a folder, a device, a file of the host's) would be a way out. Not even a pipe of the caller's goes
//! in: a process left behind would keep it, read what is meant for the caller's next command, write into its
//! output for as long as it likes, and could make it non-blocking for all who share it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use anyhow::{Context, Result};
use rustix::{
    fs::{Mode, OFlags, fstat, open},
    pipe::{PipeFlags, pipe_with},
    stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout},
};
use tokio::sync::oneshot;

use super::pump;

/// An output and where it goes.
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
        let (their_stdin, input) = pipe_with(PipeFlags::CLOEXEC).context("stdin")?;
        let their_stdout = output(STDOUT, stdout(), &mut outputs).context(STDOUT)?;
        // Where both go to the same place one pipe keeps their order.
        let their_stderr = match same(stdout(), stderr()) {
            true => their_stdout.try_clone(),
            false => output("stderr", stderr(), &mut outputs),
        };
        let given = vec![their_stdin, their_stdout, their_stderr.context("stderr")?];
        Ok(Self { given, input: (!no_stdin).then_some(input), outputs })
    }

    /// Starts the pumps. The zone's ends must have been sent and dropped by then, or no end of file is ever seen.
    pub(crate) fn pump(self) -> Result<Pumps> {
        let (hung_up, end) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
        if let Some(to) = self.input {
            let hung_up = hung_up.try_clone().context("pipe")?;
            // Not waited for: it may sleep in a write that nobody reads any more.
            thread::spawn(move || {
                let fed = pump::feed(stdin(), to, hung_up, None);
                // Whoever writes there is to see that nobody reads on. Without /dev/null it is seen at our end.
                let _ = nowhere().map(dup2_stdin);
                fed
            });
        }
        let mut running = Vec::new();
        for Output { name, from, to } in self.outputs {
            let hung_up = hung_up.try_clone().context("pipe")?;
            let (tell, told) = oneshot::channel();
            running.push((name, told));
            thread::spawn(move || {
                let drained = pump::drain(from, to, hung_up, pump::Patience::COMMAND);
                // The command may have closed it long before it ends, and its reader is to know. Stderr stays, for
                // what is to be said here.
                if name == STDOUT {
                    let _ = nowhere().map(dup2_stdout);
                }
                tell.send(drained)
            });
        }
        Ok(Pumps { end, running })
    }
}

const STDOUT: &str = "stdout";

fn nowhere() -> rustix::io::Result<OwnedFd> {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
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

fn output(name: &'static str, own: BorrowedFd<'_>, outputs: &mut Vec<Output>) -> io::Result<OwnedFd> {
    let (from, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    outputs.push(Output { name, from, to: own.try_clone_to_owned()? });
    Ok(theirs)
}

fn same(a: impl AsFd, b: impl AsFd) -> bool {
    let id = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    id(a.as_fd()).is_some_and(|id_a| Some(id_a) == id(b.as_fd()))
}
