//! `zone-test-guard FOLDER CGROUP`: waits until its standard input ends, then removes what a test left: the
//! processes of its daemon and zones, cgroups, mounts, folder. Finds them by the test's own names, and kills by
//! process id what it has looked at.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::{Pid, setsid},
};

fn main() {
    let mut args = std::env::args_os().skip(1);
    let (Some(folder), Some(cgroup)) = (args.next().map(PathBuf::from), args.next()) else { return };
    // Ctrl-C in a terminal ends the test, not its guard.
    let _ = setsid();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let cgroup = cgroup.to_string_lossy().into_owned();
    if !cgroup.starts_with("zt-") || !folder.is_absolute() {
        return;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        end_processes(&folder);
        let groups = groups(&cgroup);
        for group in &groups {
            let _ = fs::write(group.join("cgroup.kill"), "1");
            remove_groups(group);
        }
        let mounts = unmount(&folder);
        if groups.iter().all(|g| !g.exists()) && mounts == 0 && processes(&folder).is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    remove_hierarchy(&folder, &cgroup);
    let _ = fs::remove_dir_all(&folder);
}

/// Processes whose command line names the test's folder: its daemon and its monitors.
fn processes(folder: &Path) -> Vec<i32> {
    let own = std::process::id() as i32;
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|e| e.file_name().to_str().and_then(|n| n.parse::<i32>().ok()));
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split('\0');
            let program = words.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            matches!(program, "zoned" | "zone-monitor")
                && words.any(|word| Path::new(word).starts_with(folder))
        })
        .collect()
}

fn end_processes(folder: &Path) {
    for pid in processes(folder) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The test's cgroup in every hierarchy.
fn groups(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let trees = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (_, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(target).join(name))
    });
    trees.filter(|group| group.is_dir()).collect()
}

/// A cgroup hierarchy of the test's own, named as its cgroup without the hyphens, lives on in its groups where nobody
/// sees it. They are removed in a mount namespace that ends with this process, until the kernel lets go of it: a group
/// goes some time after its folder.
fn remove_hierarchy(folder: &Path, cgroup: &str) {
    let name = format!("name={}", cgroup.replace('-', ""));
    let known = || fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let there = || known().lines().any(|line| line.split(':').nth(1) == Some(name.as_str()));
    if !there() || unshare(CloneFlags::CLONE_NEWNS).is_err() {
        return;
    }
    let (none, place) = (None::<&str>, folder.join("hierarchy"));
    let options = format!("none,{name}");
    let _ = mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none);
    let _ = fs::create_dir(&place);
    let deadline = Instant::now() + Duration::from_secs(10);
    while there() && Instant::now() < deadline {
        if mount(Some("none"), &place, Some("cgroup"), MsFlags::empty(), Some(options.as_str())).is_ok() {
            remove_groups(&place.join(cgroup));
            let _ = umount2(&place, MntFlags::empty());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Bottom-up; what still has processes stays for the next round. None can end in a frozen group of version 1.
fn remove_groups(group: &Path) {
    let state = group.join("freezer.state");
    if state.exists() {
        let _ = fs::write(state, "THAWED");
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Takes mounts below the folder off; says how many there were.
fn unmount(folder: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let below: Vec<PathBuf> = targets.filter(|target| target.starts_with(folder)).collect();
    for target in below.iter().rev() {
        let _ = umount2(target, MntFlags::MNT_DETACH);
    }
    below.len()
}
