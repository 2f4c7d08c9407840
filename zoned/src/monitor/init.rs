//! PID 1 of a zone from its birth to its exec.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    net::{AddressFamily, SocketType, socket},
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{
    builtin,
    launch::{self, Program},
    link::{Go, Word},
    notify, packet,
};
use crate::{
    plan::{Init, Plan},
    platform::{
        At, Failure, confine, console,
        mounts::{adopt_root, mask, mount, switch_root},
        paths::ensure_link,
    },
    sys::{exit_now, files, keyring, namespace::unshare, net, title},
};

/// Goes the rest of the way and runs the zone. `mapped` says when the ids are mapped, `notify` is to be bound.
pub fn run(plan: &Plan, mapped: OwnedFd, monitor: &OwnedFd, notify: Option<OwnedFd>) -> ! {
    title::set("zone-init");
    let kept: Vec<&OwnedFd> = [&mapped, monitor].into_iter().chain(&notify).collect();
    let kept = files::close_all_but(&kept).at("close", "the builder's descriptors");
    let why = match kept.and_then(|()| way(plan, mapped, monitor, notify)) {
        Ok(Init::Program { argv }) => {
            let program = Program { argv, env: &plan.program_env(), search: false };
            confine::filter(&plan.process).map_or_else(launch::Stopped::from, |()| launch::exec(&program))
        }
        Ok(Init::Builtin { argv, cwd, user }) => {
            match builtin::run(plan, argv, cwd, user.as_deref(), monitor) {
                Ok(code) => exit_now(code.into()),
                Err(stopped) => stopped,
            }
        }
        Err(failure) => failure.into(),
    };
    // The monitor may be gone; then nobody is left to tell.
    let _ = packet::send(monitor, &Word::Failed { why: why.why, code: why.code }, &[]);
    exit_now(why.code.into())
}

fn way<'p>(
    plan: &'p Plan,
    mapped: OwnedFd,
    monitor: &OwnedFd,
    notify: Option<OwnedFd>,
) -> Result<&'p Init, Failure> {
    let heard: Option<(Go, _)> = packet::receive(&mapped).at("hear from", "the builder")?;
    if heard.is_none() {
        // The builder failed to map the ids and has told the monitor why.
        exit_now(125);
    }
    drop(mapped);
    become_root()?;
    unshare(libc::CLONE_NEWCGROUP | libc::CLONE_NEWIPC).at("make", "cgroup and ipc namespaces")?;
    rustix::process::setsid().at("make", "a session")?;
    if !plan.network.shared {
        let lo = socket(AddressFamily::INET, SocketType::DGRAM, None).at("open", "a socket")?;
        net::loopback_up(lo.as_fd()).at("switch on", "the interface lo")?;
    }
    file_systems(plan, monitor)?;
    if let Some(socket) = notify {
        notify::bind(&socket)?;
        if let Init::Program { .. } = plan.process.init {
            notify::introduce(0)?;
        }
    }
    nix::unistd::sethostname(&plan.zone.hostname).at("set host name", &plan.zone.hostname)?;
    keyring::new_session().at("make", "a session key ring")?;
    confine::bound(&plan.process)?;
    packet::send(monitor, &Word::Ready, &[]).at("tell", "the monitor")?;
    let go: Option<(Go, _)> = packet::receive(monitor).at("hear from", "the monitor")?;
    if go.is_none() {
        exit_now(125);
    }
    confine::reset_signals()?;
    Ok(&plan.process.init)
}

/// Root of the zone, with no group of the host's left.
pub(super) fn become_root() -> Result<(), Failure> {
    set_thread_groups(&[]).at("give up", "supplementary groups")?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).at("become", "group 0 of the zone")?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).at("become", "user 0 of the zone")?;
    // A change of ids sets it to fs.suid_dumpable, which a host may have made 1 (proc_sys_fs(5)).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become", "undumpable")
}

fn file_systems(plan: &Plan, monitor: &OwnedFd) -> Result<(), Failure> {
    let root = adopt_root()?;
    for what in &plan.mounts {
        mount(&root, what)?;
    }
    for link in &plan.links {
        ensure_link(&root, &link.path, &link.target)?;
    }
    for what in &plan.masks {
        mask(&root, what)?;
    }
    let pty = console::open(&root, 0)?;
    console::bind(&root, &pty.slave)?;
    packet::send(monitor, &Word::Terminal, &[pty.master.as_fd(), pty.slave.as_fd()])
        .at("tell", "the monitor")?;
    launch::stdio([&pty.slave, &pty.slave, &pty.slave]).at("use", "the console")?;
    switch_root(root)
}
