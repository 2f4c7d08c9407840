//! User namespaces: the maps of a zone, and a namespace whose only use is to shift ids of mounts.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};

use super::{At, Failure};
use crate::{
    plan::IdRange,
    sys::clone::{Clone3, Forked, clone3},
};

/// Writes the id maps of a process that was just born into a user namespace: 0.. inside is `ids` on the host.
pub fn map(pid: i32, ids: IdRange) -> Result<(), Failure> {
    let line = format!("0 {} {}\n", ids.base, ids.count);
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{file}");
        // One write(2): the kernel takes a map only once and whole (user_namespaces(7)).
        fs::write(&path, &line).at("write", path)?;
    }
    Ok(())
}

/// A user namespace that maps disk ids 0.. to `ids`, for id-mapped mounts (mount_setattr(2), MOUNT_ATTR_IDMAP).
///
/// It is made by a child that never runs anything; the descriptor keeps it.
pub fn for_mounts(ids: IdRange) -> Result<OwnedFd, Failure> {
    let (wait, hold) = pipe_with(PipeFlags::CLOEXEC).at("make", "a pipe")?;
    let how = Clone3 { namespaces: libc::CLONE_NEWUSER as u64, ..Clone3::default() };
    match clone3(how).at("make", "a user namespace for mounts")? {
        Forked::Child => {
            drop(hold);
            // Until the parent closes its end or dies; there is nothing to do then.
            let _ = rustix::io::read(&wait, &mut [0u8]);
            // The parent's memory is not this process' to clean up.
            crate::sys::exit_now(0)
        }
        Forked::Parent { pid, pidfd } => {
            drop(wait);
            let made = map(pid, ids).and_then(|()| {
                let path = format!("/proc/{pid}/ns/user");
                File::open(&path).at("open", path)
            });
            drop(hold);
            end(&pidfd).at("reap", "the user namespace's maker")?;
            made.map(OwnedFd::from)
        }
    }
}

/// Kills and reaps a child.
fn end(pidfd: &OwnedFd) -> io::Result<()> {
    pidfd_send_signal(pidfd, Signal::KILL)?;
    waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
    Ok(())
}
