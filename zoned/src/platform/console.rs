//! Terminals of a zone's own devpts, handed out by descriptor.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, fstatfs, major, minor, openat},
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
};

use super::{
    At, Failure,
    paths::{ensure_file, locate},
    rootfs::attach,
};

/// DEVPTS_SUPER_MAGIC (statfs(2)).
const DEVPTS: u64 = 0x1cd1;

/// Group `tty` by Linux' custom.
const TTY_GROUP: u32 = 5;

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that shows and types.
    pub master: OwnedFd,
    /// The end programs use.
    pub slave: OwnedFd,
}

/// A new terminal of the devpts at `/dev/pts` below `root`, owned by `uid` inside.
///
/// What stands there is the zone's to change, so that it really is the multiplexer of a devpts is checked before
/// anybody relies on it not to block.
pub fn open(root: impl AsFd, uid: u32) -> Result<Pty, Failure> {
    let name = "/dev/pts/ptmx";
    let place = locate(&root, Path::new(name)).at("open", name)?;
    let kind = fstat(&place).at("look at", name)?.st_rdev;
    let fs = fstatfs(&place).at("look at", name)?.f_type as u64;
    if (major(kind), minor(kind), fs) != (5, 2, DEVPTS) {
        return Err(Errno::NOTTY).at("use", name);
    }
    // A location cannot be read or written; opening it again by its parent is safe now that it is known.
    let dir = locate(&root, Path::new("/dev/pts")).at("open", "/dev/pts")?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = openat(&dir, "ptmx", flags, Mode::empty()).at("open", name)?;
    unlockpt(&master).at("unlock", "a terminal")?;
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, peer).at("open", "a terminal")?;
    fchown(&slave, Some(Uid::from_raw(uid)), Some(Gid::from_raw(TTY_GROUP))).at("own", "a terminal")?;
    fchmod(&slave, Mode::from_raw_mode(0o620)).at("protect", "a terminal")?;
    Ok(Pty { master, slave })
}

/// Shows a terminal as `/dev/console` below `root`.
pub fn bind(root: impl AsFd, slave: impl AsFd) -> Result<(), Failure> {
    let onto = ensure_file(&root, Path::new("/dev/console"))?;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let node = open_tree(slave, "", flags).at("clone", "the console")?;
    attach(&node, &onto).at("attach", "/dev/console")
}
