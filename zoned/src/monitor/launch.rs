//! The last steps before a program runs in a zone: streams, user, folder, environment, exec.

use std::{collections::BTreeMap, ffi::CString, io, os::fd::OwnedFd};

use nix::errno::Errno;
use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::platform::{At, Failure, users::User};

/// A program to run.
#[derive(Debug)]
pub struct Program<'p> {
    /// Program and arguments, at least one.
    pub argv: &'p [String],
    /// Whole environment.
    pub env: &'p BTreeMap<String, String>,
    /// Look for it in PATH of `env` if it has no slash.
    pub search: bool,
}

/// Why no program runs, and what a client should exit with.
#[derive(Debug)]
pub struct Stopped {
    /// Object and reason.
    pub why: String,
    /// 127 not found, 126 not executable, 125 anything else.
    pub code: u8,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self { why: failure.to_string(), code: 125 }
    }
}

/// Puts descriptors in the place of stdin, stdout and stderr, without close-on-exec.
pub fn stdio(streams: [&OwnedFd; 3]) -> io::Result<()> {
    dup2_stdin(streams[0])?;
    dup2_stdout(streams[1])?;
    dup2_stderr(streams[2])?;
    Ok(())
}

/// Becomes a user of the zone. Capabilities go with it as always when root becomes somebody else.
pub fn become_user(user: &User) -> Result<(), Failure> {
    let groups: Vec<Gid> = user.groups.iter().map(|g| Gid::from_raw(*g)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&groups).at("take the groups of", user.name.escape_default())?;
    set_thread_res_gid(gid, gid, gid).at("take the group of", user.name.escape_default())?;
    set_thread_res_uid(uid, uid, uid).at("become", user.name.escape_default())?;
    // A change of ids sets it to fs.suid_dumpable, which a host may have made 1 (proc_sys_fs(5)): this process still has
    // the monitor's memory and socket. The exec makes it dumpable.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become", "undumpable")
}

/// Runs a program in this process' place. Returns only if that fails.
pub fn exec(program: &Program<'_>) -> Stopped {
    match program.argv.first() {
        Some(name) => exec_as(name, program),
        None => Stopped { why: "no program is given".into(), code: 125 },
    }
}

/// Like [`exec`], the file being `name` whatever the zeroth argument says.
pub fn exec_as(name: &str, program: &Program<'_>) -> Stopped {
    match try_exec(name, program) {
        Ok(never) => match never {},
        Err(stopped) => stopped,
    }
}

fn try_exec(name: &str, program: &Program<'_>) -> Result<std::convert::Infallible, Stopped> {
    let text =
        |s: &str| CString::new(s).map_err(|_| Stopped { why: "an argument contains NUL".into(), code: 125 });
    let argv = program.argv.iter().map(|a| text(a)).collect::<Result<Vec<_>, _>>()?;
    let env = program.env.iter().map(|(k, v)| text(&format!("{k}={v}"))).collect::<Result<Vec<_>, _>>()?;
    let mut reason = Errno::ENOENT;
    for path in candidates(program, name) {
        let Err(errno) = nix::unistd::execve(&text(&path)?, &argv, &env);
        match errno {
            // As execvp(3): a folder of PATH without it, or that cannot be entered, is passed over.
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => reason = errno,
            _ => {
                reason = errno;
                break;
            }
        }
    }
    Err(not_run(name, reason))
}

fn candidates(program: &Program<'_>, name: &str) -> Vec<String> {
    if !program.search || name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = program.env.get("PATH").map_or("/usr/bin:/bin", String::as_str);
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| format!("{dir}/{name}")).collect()
}

fn not_run(name: &str, reason: Errno) -> Stopped {
    let code = match reason {
        Errno::ENOENT => 127,
        Errno::EACCES | Errno::ENOEXEC | Errno::EISDIR | Errno::EPERM | Errno::ELOOP => 126,
        _ => 125,
    };
    let hint = match reason {
        Errno::ENOENT if name.contains('/') => " (or the interpreter it names is missing)",
        Errno::ENOEXEC => " (no program for this machine, or a script without #!)",
        _ => "",
    };
    Stopped { why: format!("cannot run {}: {}{hint}", name.escape_default(), reason.desc()), code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_run_says_why() {
        let env = BTreeMap::from([("PATH".to_owned(), "/nowhere:/etc".to_owned())]);
        let run = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
            let stopped = exec(&Program { argv: &argv, env: &env, search: true });
            (stopped.code, stopped.why)
        };
        assert_eq!(run(&["no-such-program"]).0, 127);
        assert_eq!(run(&["passwd"]).0, 126, "found, not executable");
        assert_eq!(run(&["/etc"]).0, 126);
        assert_eq!(run(&["a\0b"]).0, 125);
        assert!(run(&["/x\x1b[31m"]).1.contains("\\u{1b}"), "text of a zone is escaped");
    }
}
