//! The builder: a short-lived child of the monitor that assembles the zone's root in a mount namespace of its
//! own and gives birth to PID 1, as a child of the monitor's.
//!
//! ```text
//! monitor ──fork──▶ builder: joins the v1 groups; helper mount namespace, id-mapped layers, overlay, /usr, /dev …
//!    │                  ├─clone3(PARENT, NEWUSER NEWNS NEWPID NEWNET NEWUTS, INTO_CGROUP)──▶ PID 1 (init.rs)
//!    │ ◀──Born, pidfd── │ maps its ids ──Go──▶                                                  │
//!    │                  ▼ exit                                                                  │
//!    │ ◀── Terminal, Ready ──────────────────────────────────────────────────────────────────────┤
//!    │ ── Go ──────────────────────────────────────────────────────────────────▶ exec
//! ```

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use rustix::mount::{MountPropagationFlags, mount_change};

use super::{
    init,
    link::{Go, Word},
    packet,
};
use crate::{
    plan::Plan,
    platform::{
        At, Failure, cgroup, provided,
        rootfs::{self, Assembled},
        timens, userns,
    },
    sys::{
        clone::{Clone3, Forked, clone3},
        files,
        namespace::unshare,
    },
};

/// Namespaces PID 1 is born into. Its cgroup and ipc namespaces it makes itself once its ids are mapped: the
/// first would show the host's names for v1 groups, the second would leave `/dev/mqueue` to nobody.
const BORN_INTO: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWUTS;

/// Runs the builder. `monitor` is its socket to the monitor, `link` that of PID 1, `notify` the one that PID 1 binds.
/// Returns only in the builder itself, when PID 1 is born and mapped; never in PID 1.
pub fn run(plan: &Plan, monitor: &OwnedFd, link: OwnedFd, notify: Option<OwnedFd>) -> Result<(), Failure> {
    let kept: Vec<&OwnedFd> = [monitor, &link].into_iter().chain(&notify).collect();
    files::close_all_but(&kept).at("close", "the monitor's descriptors")?;
    cgroup::join(&plan.cgroups.v1)?;
    unshare(libc::CLONE_NEWNS).at("make", "a mount namespace")?;
    let deep_private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", deep_private).at("make private", "the mounts")?;
    let shift = userns::for_mounts(plan.ids)?;
    rootfs::as_zone_root(plan.ids)?;
    let Assembled { root, spent: _spent } = rootfs::assemble(&plan.root, &plan.zone.tag(), &shift)?;
    for what in &plan.provided {
        provided::provide(&root, what, plan.ids, &shift)?;
    }
    // PID 1 finds the root as its working directory: the folders above are closed to it, and a descriptor would be
    // of the mount in this namespace, where a new mount namespace moves only the working directory along.
    rustix::process::fchdir(&root).at("enter", "the zone's root")?;
    drop((root, shift));
    timens::for_children()?;
    let cgroup = File::open(&plan.cgroups.payload).at("open", plan.cgroups.payload.display())?;
    let (mapped, map_done) = packet::pair().at("make", "a socket pair")?;
    let kept = if plan.network.shared { libc::CLONE_NEWNET } else { 0 };
    let how =
        Clone3 { namespaces: (BORN_INTO & !kept) as u64, for_parent: true, cgroup: Some(cgroup.as_fd()) };
    match clone3(how).at("make", "the zone's first process")? {
        Forked::Child => {
            drop(cgroup);
            init::run(plan, mapped, &link, notify)
        }
        Forked::Parent { pid, pidfd } => {
            // The link closes with PID 1, however long this goes on.
            drop((mapped, link));
            packet::send(monitor, &Word::Born { pid }, &[pidfd.as_fd()]).at("tell", "the monitor")?;
            crate::sys::identity::set_fs_ids(0, 0).at("take back", "root's ids")?;
            userns::map(pid, plan.ids)?;
            packet::send(&map_done, &Go::On, &[]).at("tell", "the zone's first process")
        }
    }
}
