//! The built-in init: PID 1 of a zone that has none of its own. It runs one command (or none), reaps whatever
//! is left to it, and ends with the command's status.
//!
//! It is the monitor's own code going on after the fork, not dumpable, so that the zone's root can neither read
//! its memory nor reach its file.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::stdio::stdin;

use super::{
    launch::{self, Program, Stopped},
    notify,
};
use crate::{
    plan::Plan,
    platform::{At, Failure, confine, users},
    sys::{
        clone::{Clone3, Forked, clone3},
        exit_now, tty,
    },
};

/// Runs as PID 1 until the command has ended or the zone is told to stop; returns the exit code.
///
/// `monitor` is kept open until the command's exec has succeeded or failed: its closing says so.
pub fn run(
    plan: &Plan,
    argv: &[String],
    cwd: &str,
    user: Option<&str>,
    monitor: &OwnedFd,
) -> Result<u8, Stopped> {
    let watched: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    watched.thread_block().map_err(std::io::Error::from).at("block", "signals")?;
    let name = c"zone-init";
    rustix::thread::set_name(name).at("name", "the built-in init")?;
    confine::filter(&plan.process)?;
    if argv.is_empty() {
        close_on_success(monitor)?;
        return Ok(wait(&watched, None));
    }
    let (said, saying) = super::packet::pair().at("make", "a socket pair")?;
    match clone3(Clone3::default()).at("fork", "the command")? {
        Forked::Child => {
            let stopped = match prepare(plan, cwd, user) {
                Ok(env) => launch::exec(&Program { argv, env: &env, search: true }),
                Err(failure) => failure.into(),
            };
            let _ = super::packet::send(&saying, &(stopped.why, stopped.code), &[]);
            exit_now(stopped.code.into())
        }
        Forked::Parent { pid, pidfd } => {
            drop((saying, pidfd));
            if let Ok(Some(((why, code), _))) = super::packet::receive::<(String, u8)>(&said) {
                return Err(Stopped { why, code });
            }
            close_on_success(monitor)?;
            Ok(wait(&watched, Some(Pid::from_raw(pid))))
        }
    }
}

/// In the command's process: what remains before its exec. Returns the environment.
fn prepare(plan: &Plan, cwd: &str, user: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    rustix::process::setsid().at("make", "a session")?;
    tty::make_controlling(stdin()).at("take", "the console")?;
    let user = users::look_up(user)?;
    if plan.is_notified() {
        notify::introduce(user.uid)?;
    }
    let mut env = plan.program_env();
    for (key, value) in [("HOME", &user.home), ("USER", &user.name), ("SHELL", &user.shell)] {
        env.entry(key.into()).or_insert_with(|| value.clone());
    }
    rustix::process::chdir(cwd).at("enter", cwd.escape_default())?;
    launch::become_user(&user)?;
    confine::reset_signals()?;
    Ok(env)
}

/// The monitor takes the closing of this socket as "it runs".
fn close_on_success(monitor: &OwnedFd) -> Result<(), Failure> {
    rustix::net::shutdown(monitor, rustix::net::Shutdown::Both).at("close", "the socket to the monitor")
}

/// Reaps until the command (or, told to stop, everything) has ended.
fn wait(watched: &SigSet, command: Option<Pid>) -> u8 {
    let mut stopping = false;
    let mut code = 0;
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) if Some(pid) == command => return status as u8,
                Ok(WaitStatus::Signaled(pid, signal, _)) if Some(pid) == command => {
                    return 128u8.saturating_add(signal as u8);
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                // No children at all.
                Err(_) if stopping => return code,
                Err(_) => break,
            }
        }
        match watched.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                stopping = true;
                code = if command.is_some() { 128 + signal as u8 } else { 0 };
                // Everybody in this pid namespace but this process.
                let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
                let _ = kill(Pid::from_raw(-1), Signal::SIGCONT);
            }
        }
    }
}
