//! Where, and as whom, a script runs. Each standing is taken by a process of its own.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CloneFlags, setns, unshare},
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};

use crate::sys;

/// What to do before the script, in the order given.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// `--nested`: in a user namespace of its own, and in one of every other kind but pid.
    Nested,
    /// `--enter PID KINDS`: in namespaces of a process, a comma between, as their root.
    Enter(u32, CloneFlags),
    /// `--cgroup FOLDER`: in this group.
    Cgroup(PathBuf),
    /// `--as UID`: as this user, without groups or privileges.
    As(u32),
}

impl Standing {
    /// Takes an option off the command line, if one is next.
    pub(crate) fn parse(args: &mut impl Iterator<Item = String>, option: &str) -> Result<Self> {
        let mut next = || args.next().with_context(|| format!("{option}: more is wanted"));
        Ok(match option {
            "--nested" => Self::Nested,
            "--enter" => Self::Enter(next()?.parse()?, kinds(&next()?)?),
            "--cgroup" => Self::Cgroup(next()?.into()),
            "--as" => Self::As(next()?.parse()?),
            _ => bail!("{option}: no such option"),
        })
    }

    /// Takes the standing.
    pub(crate) fn take(&self) -> Result<()> {
        match self {
            Self::Nested => nest(),
            Self::Enter(pid, kinds) => enter(*pid, *kinds),
            Self::Cgroup(folder) => {
                let procs = folder.join("cgroup.procs");
                fs::write(&procs, "0").with_context(|| procs.display().to_string())
            }
            Self::As(uid) => become_user(*uid),
        }
    }
}

fn nest() -> Result<()> {
    let kinds = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(kinds).context("unshare")?;
    fs::write("/proc/self/setgroups", "deny").context("setgroups")?;
    fs::write("/proc/self/uid_map", "0 0 1").context("uid_map")?;
    fs::write("/proc/self/gid_map", "0 0 1").context("gid_map")
}

fn enter(pid: u32, kinds: CloneFlags) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a process id")?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    setns(pidfd, kinds).context("setns")?;
    if kinds.contains(CloneFlags::CLONE_NEWUSER) {
        become_user(0)?;
    }
    Ok(())
}

fn become_user(uid: u32) -> Result<()> {
    setgroups(&[]).context("setgroups")?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setresgid(gid, gid, gid).context("setresgid")?;
    setresuid(uid, uid, uid).context("setresuid")
}

fn kinds(text: &str) -> Result<CloneFlags> {
    let kind = |word| {
        Ok(match word {
            "user" => CloneFlags::CLONE_NEWUSER,
            "mnt" => CloneFlags::CLONE_NEWNS,
            "net" => CloneFlags::CLONE_NEWNET,
            "ipc" => CloneFlags::CLONE_NEWIPC,
            "uts" => CloneFlags::CLONE_NEWUTS,
            "cgroup" => CloneFlags::CLONE_NEWCGROUP,
            _ => bail!("{word}: no kind of namespace"),
        })
    };
    text.split(',').try_fold(CloneFlags::empty(), |all, word| Ok(all | kind(word)?))
}

/// Runs `work` in a child that has taken the standings, and says what became of it: its answer, or how it ended.
pub(crate) fn within(standings: &[Standing], work: impl FnOnce() -> String) -> Result<String> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let Some(child) = sys::fork()? else {
        drop(read);
        let answer = answer(standings, work);
        let _ = rustix::io::write(&write, answer.as_bytes());
        std::process::exit(0);
    };
    drop(write);
    let said = std::io::read_to_string(fs::File::from(read))?;
    let ended = nix::sys::wait::waitpid(child, None)?;
    Ok(if said.is_empty() { format!("{ended:?}") } else { said })
}

/// In the child, which has eight seconds.
fn answer(standings: &[Standing], work: impl FnOnce() -> String) -> String {
    for standing in standings {
        if let Err(why) = standing.take() {
            return format!("wrong: {why:#}");
        }
    }
    nix::unistd::alarm::set(8);
    work()
}
