//! The way of a command into a running zone.
//!
//! ```text
//! monitor ──fork──▶ usher: joins the v1 groups, setns into every namespace of PID 1
//!    │                 ├──clone3(PARENT, INTO_CGROUP exec/)──▶ command: a process of the zone, a child of the monitor's
//!    │ ◀──Born, pidfd──┤                                         │ cgroup namespace, terminal, user, folder, limits, filter
//!    │                 ▼ exit                                    │
//!    │ ◀── Terminal | Failed | Finished ─────────────────────────┤
//!    │ ◀── end of file ──────────────────────────────────────────▶ exec
//! ```
//! Usher and command are not dumpable from before they can be seen inside, so that the zone's root can attach to
//! neither (CVE-2016-9962, CVE-2019-5736). Nothing here holds up the monitor: what a zone can make last (opening
//! its terminal, entering its folders) happens in the command's process. Either is killed when it takes too long.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, openat},
    stdio::stdin,
};
use zoned_api::session::ExecSpec;

use super::{
    init::become_root,
    launch::{self, Program, Stopped},
    link::Word,
    packet, transfer,
};
use crate::{
    plan::Plan,
    platform::{At, Failure, cgroup, confine, console, users},
    sys::{
        clone::{Clone3, Forked, clone3},
        exit_now, files, keyring, namespace, title, tty,
    },
};

/// What the kernel means where it says that it should be tried again.
const FULL: &str = "the zone has as many tasks as it may; end some, or raise tasks.max";

/// Every namespace of a zone but that of cgroups. Where cgroup2 is mounted `nsdelegate`, as systemd does, the kernel
/// refuses (ENOENT) births into a group outside of the caller's cgroup namespace, and `exec/` is outside of the
/// zone's.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWTIME;

/// What is done inside.
#[derive(Debug)]
pub enum Task {
    /// A command with its streams; none of them with a terminal.
    Exec(ExecSpec, Vec<OwnedFd>),
    /// Unpacks what comes from the pipe into a folder, or packs a path into it.
    Copy {
        /// Path inside.
        path: String,
        /// Direction.
        into: bool,
        /// The pipe.
        pipe: OwnedFd,
    },
}

impl Task {
    fn descriptors(&self) -> Vec<&OwnedFd> {
        match self {
            Task::Exec(_, streams) => streams.iter().collect(),
            Task::Copy { pipe, .. } => vec![pipe],
        }
    }
}

/// Runs the usher: brings a task into the zone of `init`, and returns in the usher when the task's process is
/// born; never in that process.
pub fn run(plan: &Plan, init: &OwnedFd, task: &Task, monitor: &OwnedFd) -> Result<(), Failure> {
    let mut kept = task.descriptors();
    kept.extend([init, monitor]);
    files::close_all_but(&kept).at("close", "the monitor's descriptors")?;
    cgroup::join(&plan.cgroups.v1)?;
    let cgroup = File::open(&plan.cgroups.exec).at("open", plan.cgroups.exec.display())?;
    let namespace = cgroup_namespace(init).at("open", "the zone's cgroup namespace")?;
    namespace::enter(init.as_fd(), NAMESPACES).at("enter", "the zone's namespaces")?;
    let how = Clone3 { namespaces: 0, for_parent: true, cgroup: Some(cgroup.as_fd()) };
    match clone3(how).at("make", "a process in the zone").map_err(|e| e.because(libc::EAGAIN, FULL))? {
        Forked::Child => {
            drop(cgroup);
            let stopped = inside(plan, &namespace, task, monitor);
            let _ = packet::send(monitor, &Word::Failed { why: stopped.why, code: stopped.code }, &[]);
            exit_now(stopped.code.into())
        }
        Forked::Parent { pid, pidfd } => {
            packet::send(monitor, &Word::Born { pid }, &[pidfd.as_fd()]).at("tell", "the monitor")
        }
    }
}

/// The usher is in it for a moment: a zone's process could not open it by `init`, which may be undumpable.
fn cgroup_namespace(init: &OwnedFd) -> io::Result<File> {
    const OWN: &str = "/proc/self/ns/cgroup";
    let own = File::open(OWN)?;
    namespace::enter(init.as_fd(), libc::CLONE_NEWCGROUP)?;
    let zones = File::open(OWN);
    namespace::enter_one(own.as_fd(), libc::CLONE_NEWCGROUP)?;
    zones
}

/// In the task's process. Returns only if it fails.
fn inside(plan: &Plan, cgroups: &File, task: &Task, monitor: &OwnedFd) -> Stopped {
    title::set("zone-exec");
    let entered = namespace::enter_one(cgroups.as_fd(), libc::CLONE_NEWCGROUP)
        .at("enter", "the zone's cgroup namespace");
    let done = entered.map_err(Stopped::from).and_then(|()| match task {
        Task::Exec(spec, streams) => exec(plan, spec, streams, monitor),
        Task::Copy { path, into, pipe } => copy(plan, path, *into, pipe, monitor).map_err(Stopped::from),
    });
    match done {
        Ok(never) => match never {},
        Err(stopped) => stopped,
    }
}

type Never = std::convert::Infallible;

fn exec(plan: &Plan, spec: &ExecSpec, streams: &[OwnedFd], monitor: &OwnedFd) -> Result<Never, Stopped> {
    become_root()?;
    rustix::process::setsid().at("make", "a session")?;
    keyring::new_session().at("make", "a session key ring")?;
    let user = users::look_up(spec.user.as_deref())?;
    if spec.tty {
        let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let pty = console::open(root.at("open", "/")?, user.uid)?;
        if spec.size != (0, 0) {
            tty::set_size(pty.master.as_fd(), spec.size.0, spec.size.1).at("size", "the terminal")?;
        }
        launch::stdio([&pty.slave, &pty.slave, &pty.slave]).at("use", "the terminal")?;
        tty::make_controlling(stdin()).at("take", "the terminal")?;
        packet::send(monitor, &Word::Terminal, &[pty.master.as_fd()]).at("tell", "the monitor")?;
    } else if let [input, output, errors] = streams {
        launch::stdio([input, output, errors]).at("use", "the client's streams")?;
    }
    let login = spec.command.is_empty();
    let cwd = spec.cwd.as_deref().unwrap_or(if login { &user.home } else { "/" });
    if let Err(failure) = rustix::process::chdir(cwd).at("enter", cwd.escape_default()) {
        // A login without a home begins at the root, as login(1) has it.
        if !login || spec.cwd.is_some() {
            return Err(failure.into());
        }
        rustix::process::chdir("/").at("enter", "/")?;
    }
    confine::bound(&plan.process)?;
    // Before the ids change: root's right to load it without no_new_privs goes with them.
    let env = environment(plan, spec, &user);
    confine::reset_signals()?;
    awaited(monitor).at("go on with", "the session")?;
    confine::filter(&plan.process)?;
    launch::become_user(&user)?;
    if !login {
        return Err(launch::exec(&Program { argv: &spec.command, env: &env, search: true }));
    }
    // A shell whose zeroth argument begins with a dash is a login shell.
    let name = Path::new(&user.shell).file_name().map_or("sh".into(), |n| n.to_string_lossy());
    let argv = [format!("-{name}")];
    Err(launch::exec_as(&user.shell, &Program { argv: &argv, env: &env, search: false }))
}

/// Refuses when the monitor has hung up: its client was told that nothing would run.
fn awaited(monitor: &OwnedFd) -> io::Result<()> {
    let mut socket = [PollFd::new(monitor, PollFlags::empty())];
    poll(&mut socket, Some(&Timespec::default()))?;
    if socket[0].revents().contains(PollFlags::HUP) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

fn environment(plan: &Plan, spec: &ExecSpec, user: &users::User) -> BTreeMap<String, String> {
    let mut env = plan.process.env.clone();
    for (key, value) in
        [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name), ("SHELL", &user.shell)]
    {
        env.insert(key.into(), value.clone());
    }
    env.extend(spec.env.clone());
    env
}

fn copy(plan: &Plan, path: &str, into: bool, pipe: &OwnedFd, monitor: &OwnedFd) -> Result<Never, Failure> {
    become_root()?;
    confine::bound(&plan.process)?;
    confine::filter(&plan.process)?;
    let (path, pipe) = (Path::new(path), pipe.try_clone().at("copy", "the pipe's descriptor")?);
    let begun = || packet::send(monitor, &Word::Begun, &[]).at("tell", "the monitor");
    if into { transfer::unpack(path, pipe, begun) } else { transfer::pack(path, pipe, begun) }?;
    packet::send(monitor, &Word::Finished, &[]).at("tell", "the monitor")?;
    exit_now(0)
}
