//! The keeper: sets the unpacker up, waits for it, and kills it when told to or when the daemon dies.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
};

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, mount_change, move_mount},
    pipe::{PipeFlags, pipe_with},
    process::{
        self, WaitId, WaitIdOptions, WaitIdStatus, getppid, pidfd_send_signal,
        set_parent_process_death_signal, waitid,
    },
    stdio::stdin,
};

use super::{Job, LONGEST_JOB, Report, unpacker};
use crate::{
    platform::{At, Failure, rootfs, userns},
    sys::{
        clone::{Clone3, Forked, clone3},
        files, keyring,
        namespace::unshare,
    },
};

/// What the unpacker is born into. Its mounts are a less privileged copy of the keeper's, so that none of them
/// can be changed or taken off (mount_namespaces(7)).
const BORN_INTO: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// What `zoned worker` does with these arguments. To be called before this process has a second thread.
pub fn main(task: &[OsString]) -> ExitCode {
    if task != &super::ARGUMENTS[1..] {
        // Nobody types this.
        return ExitCode::from(2);
    }
    match keep() {
        Ok(code) => code,
        Err(failure) => {
            Report::Confine(failure.to_string()).send();
            ExitCode::FAILURE
        }
    }
}

fn keep() -> Result<ExitCode, Failure> {
    // Blocked before there is anything to miss; both are waited for below.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGCHLD]);
    signals.thread_block().map_err(io::Error::from).at("block", "signals")?;
    set_parent_process_death_signal(Some(process::Signal::TERM)).at("follow", "the daemon")?;
    files::close_all_but(&[]).at("close", "inherited descriptors")?;
    let job = read_job().at("read", "the job")?;
    if getppid().map(|pid| pid.as_raw_nonzero().get() as u32) != Some(job.parent) {
        // It died before the kernel was asked to tell.
        return Ok(ExitCode::FAILURE);
    }
    keyring::new_session().at("make", "a key ring")?;
    prepare(&job)?;
    let (go, release) = pipe_with(PipeFlags::CLOEXEC).at("make", "a pipe")?;
    let how = Clone3 { namespaces: BORN_INTO as u64, ..Clone3::default() };
    match clone3(how).at("make", "the unpacking process")? {
        Forked::Child => {
            drop(release);
            unpacker::run(&job, &go)
        }
        Forked::Parent { pid, pidfd } => {
            drop(go);
            // Also when this fails: its end of the pipe closes and it goes away.
            userns::map(pid, job.ids)?;
            rustix::io::write(&release, &[0]).at("release", "the unpacking process")?;
            wait(&signals, &pidfd)
        }
    }
}

/// Mounts the folder onto itself with shifted ids, in a mount namespace nobody else sees.
fn prepare(job: &Job) -> Result<(), Failure> {
    unshare(libc::CLONE_NEWNS).at("make", "a mount namespace")?;
    let deep_private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", deep_private).at("make private", "the mounts")?;
    let shift = userns::for_mounts(job.ids)?;
    let harmless = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree = rootfs::shifted(&job.folder, &shift, harmless)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", rustix::fs::CWD, &job.folder, flags).at("mount", job.folder.display())
}

/// Byte by byte: what follows the line is the archive, which is not for this process to read.
fn read_job() -> io::Result<Job> {
    let mut input = File::from(stdin().try_clone_to_owned()?);
    let mut line = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte)? == 1 && byte != *b"\n" && line.len() < LONGEST_JOB {
        line.push(byte[0]);
    }
    serde_json::from_slice(&line).map_err(io::Error::other)
}

/// Waits for the unpacker's end; its exit code, or 128 and the signal that killed it.
fn wait(signals: &SigSet, pidfd: &OwnedFd) -> Result<ExitCode, Failure> {
    loop {
        let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        if let Some(status) = ended.at("wait for", "the unpacking process")? {
            return Ok(ExitCode::from(code(&status)));
        }
        let signal = signals.wait().map_err(io::Error::from).at("wait for", "a signal")?;
        if signal == Signal::SIGTERM {
            pidfd_send_signal(pidfd, process::Signal::KILL).at("kill", "the unpacking process")?;
        }
    }
}

fn code(status: &WaitIdStatus) -> u8 {
    let killed = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(killed).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
