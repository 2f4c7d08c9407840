//! `zone-monitor RUN_FOLDER [--boot]`: started by zoned, with the zone's control socket, listening, as its stdout.
//! A byte on its stdin says that the zone's groups and the plan are there; the end of it without one, that they will
//! never be.

use std::{env, fs::File, os::fd::OwnedFd, path::PathBuf, process::ExitCode};

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, set_dumpable_behavior, setsid, umask},
};
use zoned::{monitor::run, plan::RunFolder, platform::At};

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let folder = args.next().map(PathBuf::from);
    let straight = args.next().is_some_and(|word| word == "--boot");
    let Some(folder) = folder.filter(|f| f.is_absolute()) else {
        eprintln!("zone-monitor is started by zoned; use zonectl");
        return ExitCode::from(2);
    };
    match begin().and_then(|listener| run::run(RunFolder(folder), listener, straight)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("zone-monitor: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// A session of its own, and nothing of it to be seen by a zone its children are in: not dumpable, so that
/// neither memory nor file of theirs can be reached through /proc. Returns the control socket.
fn begin() -> Result<OwnedFd, zoned::platform::Failure> {
    zoned::sys::title::find().at("read", "/proc/self/stat")?;
    // Fails only for who leads a process group already, which does as well.
    let _ = setsid();
    // What a zone's processes begin with, whatever zoned's own is.
    umask(Mode::WGRP | Mode::WOTH);
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become", "undumpable")?;
    let listener =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).at("take", "the control socket")?;
    let null = File::open("/dev/null").at("open", "/dev/null")?;
    rustix::stdio::dup2_stdout(&null).at("close", "stdout")?;
    // All of zoned's are close-on-exec. Whoever started zoned may have left it some that are not, and one on its way to
    // a command of another zone would stay open here: its reader would wait for this zone's end.
    zoned::sys::files::close_all_but(&[&listener, &OwnedFd::from(null)])
        .at("close", "inherited descriptors")?;
    Ok(listener)
}
