//! The daemon's side: starts the keeper, feeds it the archive, takes its reports.

use std::{
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{ARGUMENTS, Job, Report};
use crate::image::{
    Cancel, Digest, ImageError,
    archive::{Amount, Summary},
    child::lines,
    digest::Summing,
    source::Source,
};

/// Time the keeper has to end what it keeps before it is killed itself.
const GRACE: Duration = Duration::from_secs(5);

/// Most kept of what a worker writes to stderr, in bytes.
const SAID: u64 = 2000;

/// Unpacks a source as `job` says, in a process of `program`'s.
///
/// When this returns, no process of it is left; after an error the folder holds a part of the archive.
pub fn run(
    program: &Path,
    job: &Job,
    source: &Source,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Amount),
) -> Result<Summary, ImageError> {
    let mut command = Command::new(program);
    command.args(ARGUMENTS).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let image = || source.image.clone();
    let failed = |how: String| ImageError::Worker { image: image(), how, said: String::new() };
    let mut keeper = command.spawn().map_err(|e| failed(format!("cannot be started: {e}")))?;
    let (Some(input), Some(output), Some(errors)) =
        (keeper.stdin.take(), keeper.stdout.take(), keeper.stderr.take())
    else {
        return Err(failed("has no streams".into()));
    };
    let mut last = None;
    let mut killer = Killer { pid: Pid::from_raw(keeper.id() as i32), cancel, since: None };
    let (fed, said, read) = std::thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(input, job, source));
        let listener = scope.spawn(|| tail(errors));
        let read = lines(
            output,
            || killer.glance(),
            |line| match serde_json::from_slice(line) {
                Ok(Report::Progress(amount)) => progress(amount),
                Ok(report) => last = Some(report),
                Err(_) => {}
            },
        );
        (feeder.join(), listener.join().unwrap_or_default(), read)
    });
    let status = end(&mut keeper, read.is_err()).map_err(|e| failed(format!("cannot be waited for: {e}")))?;
    cancel.check()?;
    let fed = fed.map_err(|_| failed("could not be fed".into()))?;
    let fed = fed.map_err(|source| ImageError::Io { path: image().into(), doing: "read", source })?;
    if fed.is_some_and(|digest| digest != source.digest) {
        // Whatever came of it: it was not what was asked for.
        return Err(ImageError::Changed(image()));
    }
    match last {
        // It took all there was, or it could not have found the end mark; a worker that says otherwise lies.
        Some(Report::Done(summary)) if status.success() && fed.is_some() => Ok(summary),
        Some(Report::Archive(source)) => Err(ImageError::Archive { image: image(), source }),
        Some(Report::Confine(why)) => Err(ImageError::Confine { image: image(), why }),
        _ => Err(ImageError::Worker { image: image(), how: how(status), said }),
    }
}

/// Ends the keeper when the install is cancelled: by asking first, since only it is sure to reach the unpacker.
struct Killer<'a> {
    pid: Pid,
    cancel: &'a Cancel,
    since: Option<Instant>,
}

impl Killer<'_> {
    fn glance(&mut self) {
        // The process is not reaped before the reading is over, so its id cannot be somebody else's yet.
        match self.since {
            None if self.cancel.is_cancelled() => {
                self.since = Some(Instant::now());
                let _ = kill(self.pid, Signal::SIGTERM);
            }
            Some(since) if since.elapsed() > GRACE => {
                let _ = kill(self.pid, Signal::SIGKILL);
            }
            _ => {}
        }
    }
}

fn end(keeper: &mut Child, broken: bool) -> io::Result<ExitStatus> {
    if broken {
        keeper.kill()?;
    }
    keeper.wait()
}

/// Job and archive into the worker. The digest if all of it was taken; none if the worker stopped reading.
fn feed(mut input: ChildStdin, job: &Job, archive: &Source) -> io::Result<Option<Digest>> {
    let mut line = serde_json::to_vec(job)?;
    line.push(b'\n');
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    match input.write_all(&line) {
        Err(e) if gone(&e) => return Ok(None),
        sent => sent?,
    }
    let mut source = Summing::new(&archive.file).take(archive.bytes);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = match source.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            n => n?,
        };
        if n == 0 {
            return Ok(Some(source.into_inner().finish().1));
        }
        match input.write_all(&buffer[..n]) {
            Err(e) if gone(&e) => return Ok(None),
            sent => sent?,
        }
    }
}

/// The beginning of what a process writes, read to its end.
fn tail(mut pipe: impl Read) -> String {
    let mut text = Vec::new();
    let read = pipe.by_ref().take(SAID).read_to_end(&mut text);
    let rest = io::copy(&mut pipe, &mut io::sink());
    if read.is_err() || rest.is_err() {
        tracing::debug!("a worker's stderr could not be read");
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn how(status: ExitStatus) -> String {
    let signal = status.signal().or(status.code().filter(|code| *code > 128).map(|code| code - 128));
    match (signal, status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".into(),
    }
}
