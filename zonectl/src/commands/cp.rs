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
use zoned_api::{
    ApiError, Method,
    client::{Client, ClientError},
    session::FromSession,
};

use super::App;
use crate::{
    output::{
        failure::{hinted, interrupted},
        progress::Progress,
        units,
    },
    session::{self, Channel, Signals},
    transfer::{Abortable, Address, Fault, Place, Side, Source, Tally, pack, unpack},
};

/// Copy a file or folder into a running zone or out of it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "One of SRC and DST is ZONE:PATH. Into a folder that is there the copy goes under its own name, as with cp -a; \
                        links stay links. Modes and times are kept; owner is the caller (in the zone: its root), \
                        set-id bits are dropped and devices left out. Out of a zone, a whole copy is put in place or none; into one, what came \
                        before an interruption stays. What the kernel makes up (/proc, /sys, /dev) is refused, and what is mounted below a folder of the zone is left out. \
                        A file here with a colon in its name is written ./a:b.\n\n\
                        Examples:\n  zonectl cp ./site web:/srv/\n  zonectl cp web:/var/log/syslog /tmp/web.log"
)]
pub(crate) struct Args {
    /// What to copy: PATH or ZONE:PATH
    #[arg(value_name = "SRC")]
    src: Address,
    /// Where to: ZONE:PATH or PATH
    #[arg(value_name = "DST")]
    dst: Address,
    /// Taken for habit's sake (as --archive, --preserve): folders are always copied whole, with modes and times
    #[arg(long, short, visible_short_aliases = ['R', 'a', 'p'], aliases = ["archive", "preserve"])]
    recursive: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let (src, dst) = (&args.src, &args.dst);
    let copied = match (&src.side, &dst.side) {
        (Side::Host, Side::Zone(zone)) => into(app, src, zone, dst).await,
        (Side::Zone(zone), Side::Host) => out_of(app, zone, src, dst).await,
        (Side::Host, Side::Host) => {
            return Err(hinted("neither side is in a zone", "write one as ZONE:PATH"));
        }
        (Side::Zone(_), Side::Zone(_)) => return Err(both_in_zones(src, dst)),
    };
    let tally = copied.map_err(|error| maybe_a_file(error, src, dst))?;
    let entries = if tally.entries == 1 { "entry" } else { "entries" };
    app.out.notice(&format!("copied {} {entries}, {}", tally.entries, units::bytes(tally.bytes)));
    if tally.skipped > 0 {
        app.out.warn(&format!("{} devices, sockets or folders of the kernel's were left out", tally.skipped));
    }
    Ok(0)
}

fn both_in_zones(src: &Address, dst: &Address) -> anyhow::Error {
    let hint = match [src, dst].into_iter().find(|address| address.is_there()) {
        Some(file) => file.as_a_file(),
        None => "copy to the host first, or join two `zonectl exec ZONE -- tar` by a pipe".to_owned(),
    };
    hinted("both sides are in a zone", hint)
}

/// A zone that is not there may have been meant as a file with a colon in its name.
fn maybe_a_file(error: anyhow::Error, src: &Address, dst: &Address) -> anyhow::Error {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Api(none @ ApiError::NoSuchZone { .. })) => {
            let address = if src.side == Side::Host { dst } else { src };
            let list = none.hint().unwrap_or_default();
            hinted(none.to_string(), format!("{list}; {}", address.as_a_file()))
        }
        _ => error,
    }
}

/// Refuses what the kernel makes up: there a copy would be empty, or gone at the zone's next boot.
fn kept(zone: &str, address: &Address, into: bool) -> Result<()> {
    let Some(mount) = address.made_by_the_kernel() else { return Ok(()) };
    let path = &address.path;
    let hint = match into {
        true => format!("`zonectl exec {zone} -- sh -c 'cat > {path}'` writes to what is there already"),
        false => format!("`zonectl exec {zone} -- cat {path}` prints it"),
    };
    Err(hinted(
        format!("zone {zone}: {path}: what is in {mount} is made by the kernel and no file to copy"),
        hint,
    ))
}

async fn into(app: &App, src: &Address, zone: &str, dst: &Address) -> Result<Tally> {
    kept(zone, dst, true)?;
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
    kept(zone, src, false)?;
    let mut client = app.connect().await?;
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
    let method = Method::Copy { zone: zone.to_owned(), path: src.path.clone(), into: false };
    let mut copy = Copy::start(app, &mut client, zone, method, theirs).await?;
    // Made only now that signals are watched: none may leave it behind.
    let place = Place::find(&dst.path, src.name())?;
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
        let signals = Signals::watch(&[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT])?;
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
                    return Err(given_up(signal));
                }
            }
        };
        tokio::select! {
            last = self.channel.next() => Ok((worked, last?)),
            signal = self.signals.next() => Err(given_up(signal)),
        }
    }
}

fn given_up(signal: Signal) -> anyhow::Error {
    interrupted(session::number(signal), "interrupted; the copy is not whole", None)
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
        None if tally.entries == 0 => {
            bail!("zone {zone}: nothing came: devices and sockets cannot be copied")
        }
        None => Ok(tally),
    }
}
