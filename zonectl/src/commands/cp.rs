//! `zonectl cp`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};
use tokio::task::JoinHandle;
use zoned_api::{Method, client::Client, session::FromSession};

use super::App;
use crate::{
    output::{failure::hinted, progress::Progress, units},
    session::{self, Channel, Signals},
    transfer::{Abortable, Address, Fault, Place, Side, Source, Tally, pack, unpack},
};

/// Copy a file or folder into a running zone or out of it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "One of SRC and DST is ZONE:PATH. Into a folder that is there the copy goes under its own name, as with cp -a; \
                        links stay links. Modes and times are kept; owner is the caller (in the zone: its root), \
                        set-id bits are dropped and devices left out. Out of a zone, a whole copy is put in place or none.\n\n\
                        Examples:\n  zonectl cp ./site web:/srv/\n  zonectl cp web:/var/log/syslog /tmp/web.log"
)]
pub(crate) struct Args {
    /// What to copy: PATH or ZONE:PATH
    #[arg(value_name = "SRC")]
    src: Address,
    /// Where to: ZONE:PATH or PATH
    #[arg(value_name = "DST")]
    dst: Address,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let tally = match (&args.src.side, &args.dst.side) {
        (Side::Host, Side::Zone(zone)) => into(app, &args.src, zone, &args.dst).await?,
        (Side::Zone(zone), Side::Host) => out_of(app, zone, &args.src, &args.dst).await?,
        (Side::Host, Side::Host) => {
            return Err(hinted("neither side is in a zone", "write one as ZONE:PATH"));
        }
        _ => {
            let hint = "copy to the host first, or join two `zonectl exec ZONE -- tar` by a pipe";
            return Err(hinted("both sides are in a zone", hint));
        }
    };
    let entries = if tally.entries == 1 { "entry" } else { "entries" };
    app.out.notice(&format!("copied {} {entries}, {}", tally.entries, units::bytes(tally.bytes)));
    if tally.skipped > 0 {
        app.out.warn(&format!("{} devices or sockets were left out", tally.skipped));
    }
    Ok(0)
}

async fn into(app: &App, src: &Address, zone: &str, dst: &Address) -> Result<Tally> {
    let source = Source::open(Path::new(&src.path))?;
    let mut client = app.connect().await?;
    let (folder, name) = if is_folder(&mut client, zone, &dst.path).await? {
        let unnamed = || format!("{}: the copy needs a name; give one that is not there yet", dst.path);
        (dst.path.clone(), source.name().with_context(unnamed)?.to_owned())
    } else if dst.says_folder() {
        bail!("zone {zone}: {}: no such folder", dst.path);
    } else {
        let parent = Path::new(&dst.path).parent().and_then(Path::to_str).unwrap_or("/");
        let name = dst.name().with_context(|| format!("zone {zone}: {}: no such folder", dst.path))?;
        (parent.to_owned(), name.to_owned())
    };
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
    let method = Method::Copy { zone: zone.to_owned(), path: folder, into: true };
    let mut copy = Copy::start(app, &mut client, zone, method, theirs).await?;
    let (pipe, done) = (Abortable::new(ours, copy.abort.try_clone()?)?, Arc::clone(&copy.done));
    let work = tokio::task::spawn_blocking(move || {
        let mut writer = BufWriter::with_capacity(64 << 10, pipe);
        let packed = pack(&source, &name, &mut writer, &done).map(|tally| (tally, writer.flush()));
        // Dropping a writer after an error would write what it still holds.
        let _ = writer.into_parts();
        packed
    });
    match copy.join(work).await? {
        (Ok((tally, Ok(()))), last) => whole(zone, last, tally),
        // The zone's side gave up: it says why.
        (Ok((_, Err(e))), last) => Err(refusal(zone, last).unwrap_or_else(|| e.into())),
        (Err(e), last) => match e.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::BrokenPipe) => Err(refusal(zone, last).unwrap_or(e)),
            _ => Err(e),
        },
    }
}

async fn out_of(app: &App, zone: &str, src: &Address, dst: &Address) -> Result<Tally> {
    let place = Place::find(&dst.path, src.name())?;
    let mut client = app.connect().await?;
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
    let method = Method::Copy { zone: zone.to_owned(), path: src.path.clone(), into: false };
    let mut copy = Copy::start(app, &mut client, zone, method, theirs).await?;
    let (pipe, done) = (Abortable::new(ours, copy.abort.try_clone()?)?, Arc::clone(&copy.done));
    let work = tokio::task::spawn_blocking(move || {
        let unpacked = unpack(pipe, place.folder(), &done);
        (unpacked, place)
    });
    let ((unpacked, place), last) = copy.join(work).await?;
    let tally = match unpacked {
        Ok(tally) => whole(zone, last, tally)?,
        Err(Fault::Stream(e)) => return Err(refusal(zone, last).unwrap_or_else(|| Fault::Stream(e).into())),
        Err(fault) => return Err(fault.into()),
    };
    place.take()?;
    Ok(tally)
}

/// Whether a path in a zone is a folder: only into one can anything be unpacked, even an empty archive.
async fn is_folder(client: &mut Client, zone: &str, path: &str) -> Result<bool> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
    // Two blocks of zeros are the end mark; a pipe holds them without anybody reading.
    File::from(ours).write_all(&[0; 1024]).context("pipe")?;
    let method = Method::Copy { zone: zone.to_owned(), path: path.to_owned(), into: true };
    let (socket, _) = session::open(client, method, vec![theirs]).await?;
    match Channel::new(socket)?.next().await? {
        Some(FromSession::Ended { code, .. }) => Ok(code == 0),
        None => Err(session::broken_off(zone)),
    }
}

/// A copy under way.
struct Copy<'a> {
    channel: Channel,
    signals: Signals,
    progress: Progress<'a>,
    done: Arc<AtomicU64>,
    abort: OwnedFd,
    /// Dropped, it makes the work give up.
    working: Option<OwnedFd>,
}

impl<'a> Copy<'a> {
    async fn start(
        app: &'a App,
        client: &mut Client,
        zone: &str,
        method: Method,
        theirs: OwnedFd,
    ) -> Result<Copy<'a>> {
        let signals = Signals::watch(&[Signal::INT, Signal::TERM, Signal::HUP])?;
        let (socket, _) = session::open(client, method, vec![theirs]).await?;
        let (abort, working) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
        Ok(Copy {
            channel: Channel::new(socket)?,
            signals,
            progress: Progress::new(&app.out, zone, false),
            done: Arc::default(),
            abort,
            working: Some(working),
        })
    }

    /// Waits for both halves. On a signal the work here ends first, so that nothing of it is left.
    async fn join<T>(&mut self, mut work: JoinHandle<T>) -> Result<(T, Option<FromSession>)> {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        let worked = loop {
            tokio::select! {
                worked = &mut work => break worked.context("the copying thread died")?,
                _ = ticks.tick() => self.progress.step("copying", Some((self.done.load(Ordering::Relaxed), None))),
                signal = self.signals.next() => {
                    self.working = None;
                    let _ = work.await;
                    bail!("interrupted by signal {}; the copy is not whole", signal.as_raw());
                }
            }
        };
        Ok((worked, self.channel.next().await?))
    }
}

/// What the zone's side said against it.
fn refusal(zone: &str, last: Option<FromSession>) -> Option<anyhow::Error> {
    match last {
        Some(FromSession::Ended { code: 0, .. }) => None,
        Some(FromSession::Ended { code, why }) => {
            let why = why.unwrap_or_else(|| format!("its side of the copy ended with {code}"));
            Some(anyhow::anyhow!("zone {zone}: {why}"))
        }
        None => Some(session::broken_off(zone)),
    }
}

/// A copy is whole when both sides say so.
fn whole(zone: &str, last: Option<FromSession>, tally: Tally) -> Result<Tally> {
    match refusal(zone, last) {
        Some(error) => Err(error),
        None if tally.entries == 0 => bail!("zone {zone}: nothing came"),
        None => Ok(tally),
    }
}
