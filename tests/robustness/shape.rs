//! What a process holds: descriptors, memory, threads, children.

use std::{collections::BTreeSet, fs};

use zone_tests::{TestCtx, wait};

/// What the daemon holds before something is done to it.
#[derive(Debug)]
pub struct Shape {
    pid: u32,
    descriptors: usize,
    resident_kib: u64,
}

/// Growth of the daemon's memory that is no leak: buffers of the allocator's, of one per thread.
const SLACK_KIB: u64 = 16 * 1024;

impl Shape {
    /// Of a process that has nothing to do now.
    pub fn of(pid: u32) -> Self {
        Self { pid, descriptors: descriptors(pid), resident_kib: resident_kib(pid) }
    }

    /// Of a test's daemon, once it has begun with all it begins after it serves: figures, events, an audit.
    pub fn of_daemon(ctx: &TestCtx) -> Self {
        for args in [&["stat"][..], &["events"], &["audit"], &["doctor"]] {
            ctx.zonectl(args);
        }
        let mut before = usize::MAX;
        wait::until("the daemon is at rest", || {
            let now = descriptors(ctx.daemon_pid());
            std::mem::replace(&mut before, now) == now
        });
        Self::of(ctx.daemon_pid())
    }

    /// Waits until the process has let go of what it took since, and checks its memory.
    #[track_caller]
    pub fn is_back(&self) {
        let now = || descriptors(self.pid);
        let kinds = || links(self.pid);
        let back =
            wait::within(std::time::Duration::from_secs(10), || (now() <= self.descriptors).then_some(()));
        assert!(back.is_some(), "{} descriptors instead of {}: {:?}", now(), self.descriptors, kinds());
        let grown = resident_kib(self.pid).saturating_sub(self.resident_kib);
        assert!(grown <= SLACK_KIB, "memory grew by {grown} KiB from {}", self.resident_kib);
    }
}

fn links(pid: u32) -> Vec<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned())).collect()
}

fn descriptors(pid: u32) -> usize {
    links(pid).len()
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Every process in a zone's groups, in the host's numbering.
pub fn processes(ctx: &TestCtx) -> BTreeSet<u32> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let cgroup2 = mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields[2] == "cgroup2").then(|| fields[1].to_owned())
    });
    let mut folders = vec![std::path::PathBuf::from(cgroup2.unwrap()).join(&ctx.cgroup)];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        found.extend(procs.lines().filter_map(|pid| pid.parse::<u32>().ok()));
        let below = fs::read_dir(folder).into_iter().flatten().flatten();
        folders.extend(below.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    found
}
