//! The unpacker: gives up all it can, then unpacks.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    fs::Mode,
    mount::{UnmountFlags, mount_bind, unmount},
    process::{
        DumpableBehavior, Resource, Rlimit, Signal, chdir, pivot_root, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit, umask,
    },
    stdio::stdin,
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{Job, Report};
use crate::{
    image::archive::{Amount, unpack},
    platform::{At, Failure, confine::LAST_CAP},
    sys::{exit_now, files},
};

/// Memory it may map, in bytes: decompressors take 256 MiB, names as much.
const MEMORY: u64 = 1 << 30;

/// Descriptors it may have open.
const DESCRIPTORS: u64 = 64;

/// What unpacking needs of root's rights, and this over its own ids only.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETFCAP);

/// Time between two reports of progress.
const PACE: Duration = Duration::from_millis(100);

/// Runs in the new process and ends it.
pub(super) fn run(job: &Job, go: &OwnedFd) -> ! {
    let report = confine(job, go).and_then(|()| File::open("/").at("open", "the folder"));
    let code = match report {
        Ok(folder) => work(job, &folder),
        Err(failure) => {
            Report::Confine(failure.to_string()).send();
            1
        }
    };
    // The keeper's memory is not this process' to clean up.
    exit_now(code)
}

fn work(job: &Job, folder: &File) -> i32 {
    let mut told = Instant::now();
    let mut progress = |amount: Amount| {
        if told.elapsed() >= PACE {
            Report::Progress(amount).send();
            told = Instant::now();
        }
    };
    let archive = match stdin().try_clone_to_owned() {
        Ok(archive) => File::from(archive),
        Err(_) => return 1,
    };
    match unpack(archive, folder.as_fd(), &job.rules, &mut progress) {
        Ok(summary) => {
            Report::Done(summary).send();
            0
        }
        Err(error) => {
            Report::Archive(error).send();
            1
        }
    }
}

fn confine(job: &Job, go: &OwnedFd) -> Result<(), Failure> {
    // Cleared by exec of set-id programs and by changes of ids only; so again below.
    set_parent_process_death_signal(Some(Signal::KILL)).at("follow", "the keeper")?;
    // Nothing but the pipe and the three streams.
    files::close_all_but(&[go]).at("close", "the keeper's descriptors")?;
    if !matches!(rustix::io::read(go, &mut [0u8]), Ok(1)) {
        exit_now(1);
    }
    files::close_all_but(&[]).at("close", "the keeper's pipe")?;
    become_all_there_is(&job.folder)?;
    set_thread_groups(&[]).at("drop", "groups")?;
    let (uid, gid) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    set_thread_res_gid(gid, gid, gid).at("become", "the zone's root group")?;
    set_thread_res_uid(uid, uid, uid).at("become", "the zone's root")?;
    set_parent_process_death_signal(Some(Signal::KILL)).at("follow", "the keeper")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("hide", "this process")?;
    bound(job)?;
    umask(Mode::empty());
    Ok(())
}

/// Makes the folder the root of this process' world.
fn become_all_there_is(folder: &Path) -> Result<(), Failure> {
    // The mount that came with the namespace is locked; only one of this namespace's own can become the root.
    mount_bind(folder, folder).at("bind", folder.display())?;
    chdir(folder).at("enter", folder.display())?;
    pivot_root(".", ".").at("make root", folder.display())?;
    unmount(".", UnmountFlags::DETACH).at("detach", "the host's root")?;
    chdir("/").at("enter", "/")
}

fn bound(job: &Job) -> Result<(), Failure> {
    for (resource, most) in [
        (Resource::As, MEMORY),
        (Resource::Core, 0),
        (Resource::Fsize, job.rules.bytes),
        (Resource::Nofile, DESCRIPTORS),
        // This one process: CAP_SYS_RESOURCE, which would lift it, is given up below.
        (Resource::Nproc, 1),
    ] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).at("set", format_args!("resource limit {resource:?}"))?;
    }
    clear_ambient_capability_set().at("clear", "the ambient capabilities")?;
    for cap in 0..=LAST_CAP {
        let one = CapabilitySet::from_bits_retain(1 << cap);
        match remove_capability_from_bounding_set(one) {
            // A kernel older than the capability does not have it to give.
            Err(rustix::io::Errno::INVAL) => {}
            done => done.at("give up", format_args!("capability {cap}"))?,
        }
    }
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).at("set", "capabilities")?;
    set_no_new_privs(true).at("set", "no_new_privs")
}
