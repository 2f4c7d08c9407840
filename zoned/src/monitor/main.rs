//! `zone-monitor`: started by zoned, and told over its stdin which zone it is for.

use std::{fs::File, os::fd::OwnedFd, process::ExitCode};

use rustix::{
    fs::{FileType, Mode, fstat},
    process::{DumpableBehavior, set_dumpable_behavior, setsid, umask},
    stdio::stdin,
};
use zoned::{monitor::run, platform::At};

fn main() -> ExitCode {
    if !fstat(stdin()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket) {
        eprintln!("zone-monitor is started by zoned; use zonectl");
        return ExitCode::from(2);
    }
    match begin().and_then(run::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("zone-monitor: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// A session of its own, and nothing of it to be seen by a zone its children are in: not dumpable, so that
/// neither memory nor file of theirs can be reached through /proc. Returns the socket to the daemon.
fn begin() -> Result<OwnedFd, zoned::platform::Failure> {
    zoned::sys::title::find().at("read", "/proc/self/stat")?;
    // Fails only for who leads a process group already, which does as well.
    let _ = setsid();
    // What a zone's processes begin with, whatever zoned's own is.
    umask(Mode::WGRP | Mode::WOTH);
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become", "undumpable")?;
    let daemon = rustix::io::fcntl_dupfd_cloexec(stdin(), 3).at("take", "the socket to the daemon")?;
    let null = File::open("/dev/null").at("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).at("close", "stdin")?;
    // All of zoned's are close-on-exec. Whoever started zoned may have left it some that are not, and one on its way to
    // a command of another zone would stay open here: its reader would wait for this zone's end.
    zoned::sys::files::close_all_but(&[&daemon, &OwnedFd::from(null)])
        .at("close", "inherited descriptors")?;
    Ok(daemon)
}
