//! `cargo xtask vm agent`, inside: does what the host asks for.
//!
//! It is a service of the guest's systemd and serves one connection after the other. When a connection ends, so does
//! what was run on it.

use super::{
    frames::{Frame, GREETING, Guest, Job, Message},
    tracepoints,
};
use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// The port's name, and the drive's device: the guest's only virtio disk.
pub(super) const PORT: &str = "zones.agent";
pub(super) const DRIVE: &str = "/dev/vda";

/// How often it looks whether the host has come, or a command's output has ended.
const PAUSE_MS: u16 = 20;
/// Bytes a frame of output.
const CHUNK: usize = 32 << 10;

pub(crate) fn run() -> Result<()> {
    if let Err(error) = tracepoints::keep() {
        eprintln!("{error:#}");
    }
    let path = port()?;
    let port = File::options().read(true).write(true).open(&path);
    let port = port.with_context(|| format!("cannot open {}", path.display()))?;
    loop {
        // The port hangs up as long as nobody is connected to its other end.
        let mut fds = [PollFd::new(port.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::from(PAUSE_MS))?;
        if fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
            thread::sleep(Duration::from_millis(PAUSE_MS.into()));
        } else if let Err(error) = serve(&port) {
            eprintln!("{error:#}");
        }
    }
}

fn port() -> Result<PathBuf> {
    for port in fs::read_dir("/sys/class/virtio-ports").context("there are no virtio ports")?.flatten() {
        if fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT) {
            return Ok(Path::new("/dev").join(port.file_name()));
        }
    }
    bail!("no virtio port is named {PORT}")
}

/// The side of the port that is written; several threads do.
struct Answers<'a>(Mutex<&'a File>);

impl Answers<'_> {
    fn send(&self, frame: &Frame) -> Result<()> {
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame.write(&mut *port)
    }
}

/// One connection, to its end.
fn serve(port: &File) -> Result<()> {
    let answers = Answers(Mutex::new(port));
    (&*port).write_all(GREETING)?;
    answers.send(&Frame::Message(Message::Hello(guest())))?;
    let mut port = port;
    while let Some(frame) = Frame::read(&mut port)? {
        let done = match frame {
            Frame::Message(Message::Plug(workspace)) => plug(&workspace),
            Frame::Message(Message::Unplug) => unplug(),
            Frame::Message(Message::Run(job)) => {
                carry_out(&job, port, &answers)?;
                continue;
            }
            // Left over from a command that has ended.
            _ => continue,
        };
        let answer = done.map_or_else(|error| Message::Failed(format!("{error:#}")), |()| Message::Done);
        answers.send(&Frame::Message(answer))?;
    }
    Ok(())
}

fn guest() -> Guest {
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Guest {
        release: read("/proc/sys/kernel/osrelease"),
        sched_ext: Path::new("/sys/kernel/sched_ext").is_dir(),
        controllers: read("/sys/fs/cgroup/cgroup.controllers"),
    }
}

/// Mounts the drive where the host has its workspace, so that every path in a program means the same here. What is
/// written there goes with the drive.
fn plug(workspace: &Path) -> Result<()> {
    fs::create_dir_all(workspace)?;
    mount(Some(DRIVE), workspace, Some("ext4"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {DRIVE}"))
}

fn unplug() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let plugged = mounts.lines().find_map(|line| line.strip_prefix(DRIVE)?.split(' ').nth(1));
    let Some(plugged) = plugged else { return Ok(()) };
    umount2(plugged, MntFlags::empty())
        .with_context(|| format!("{plugged} is held by something that was run before"))
}

/// Runs a command and tells how it ended. If the connection ends first, so does the command.
fn carry_out(job: &Job, mut port: &File, answers: &Answers<'_>) -> Result<()> {
    let Running { mut child, mut input, outputs } = match start(job) {
        Ok(running) => running,
        Err(error) => {
            let text = format!("{error:#}\n").into_bytes();
            answers.send(&Frame::Errors(text))?;
            return answers.send(&Frame::Message(Message::Ended(127)));
        }
    };
    let group = i32::try_from(child.id()).map(Pid::from_raw)?;
    let ended = &AtomicBool::new(false);
    let (hand_in, handed_in) = mpsc::channel::<Vec<u8>>();
    thread::scope(|scope| {
        // Of its own, since a command need not read its input.
        scope.spawn(move || {
            for bytes in handed_in {
                if input.write_all(&bytes).is_err() {
                    break;
                }
            }
        });
        let pumps: Vec<_> =
            outputs.into_iter().map(|output| scope.spawn(move || pump(output, ended, answers))).collect();
        let waiter = scope.spawn(|| {
            let status = child.wait();
            ended.store(true, Ordering::Release);
            for pump in pumps {
                let _ = pump.join();
            }
            status
        });
        let (mut hand_in, mut gone) = (Some(hand_in), false);
        while !waiter.is_finished() {
            // All that comes is for this command: the host sends nothing else before it has heard of the end.
            let mut fds = [PollFd::new(port.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(PAUSE_MS))?;
            if fds[0].revents().is_none_or(|events| events.is_empty()) {
                continue;
            }
            match Frame::read(&mut port) {
                Ok(Some(Frame::Input(bytes))) => _ = hand_in.as_ref().map(|to| to.send(bytes)),
                Ok(Some(Frame::Message(Message::InputEnds))) => hand_in = None,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    let _ = killpg(group, Signal::SIGKILL);
                    gone = true;
                    break;
                }
            }
        }
        drop(hand_in);
        let Ok(status) = waiter.join() else { bail!("waiting for the command failed") };
        // What is written from here on would be heard by whoever comes next, who waits to be greeted.
        ensure!(!gone, "the host has hung up");
        answers.send(&Frame::Message(Message::Ended(code(status?))))
    })
}

/// A command that has begun.
struct Running {
    child: Child,
    input: File,
    outputs: Vec<Output>,
}

/// Where output comes from and as what it is passed on.
struct Output {
    from: File,
    frame: fn(Vec<u8>) -> Frame,
}

fn start(job: &Job) -> Result<Running> {
    let (program, arguments) = job.command.split_first().context("no command")?;
    let mut command = match job.terminal {
        None => Command::new(program),
        Some(_) => {
            let mut command = Command::new("setsid");
            command.args(["--ctty", "--wait"]).arg(program);
            command
        }
    };
    command.args(arguments).current_dir(&job.folder).env_clear().envs(&job.environment);
    if let Some((ws_row, ws_col)) = job.terminal {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).context("cannot make a terminal")?;
        let (master, slave) = (File::from(pty.master), File::from(pty.slave));
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        let child = spawn(&mut command, program)?;
        let input = master.try_clone()?;
        return Ok(Running { child, input, outputs: vec![Output { from: master, frame: Frame::Output }] });
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = spawn(&mut command, program)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        bail!("{program} has no pipes");
    };
    let outputs = vec![
        Output { from: OwnedFd::from(stdout).into(), frame: Frame::Output },
        Output { from: OwnedFd::from(stderr).into(), frame: Frame::Errors },
    ];
    Ok(Running { child, input: OwnedFd::from(stdin).into(), outputs })
}

fn spawn(command: &mut Command, program: &str) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot run {program}"))
}

/// Passes a command's output on until it ends. After the command's own end that is when there is nothing to read:
/// what it has left running may hold the pipe for ever.
fn pump(output: Output, ended: &AtomicBool, answers: &Answers<'_>) {
    let Output { mut from, frame } = output;
    let mut chunk = vec![0; CHUNK];
    loop {
        let over = ended.load(Ordering::Acquire);
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(PAUSE_MS)) {
            Ok(0) if over => return,
            Ok(0) | Err(Errno::EINTR) => continue,
            _ => {}
        }
        // A terminal that nobody has open any more reads as an error.
        match from.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                if answers.send(&frame(chunk[..length].to_vec())).is_err() {
                    return;
                }
            }
        }
    }
}

/// An exit status as a shell says it.
fn code(status: ExitStatus) -> u8 {
    let signal = || 128 + status.signal().unwrap_or_default();
    u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(u8::MAX)
}
