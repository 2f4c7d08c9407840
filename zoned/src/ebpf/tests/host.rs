//! What the tests need of the host: cgroups that look like zones', a bpffs, and processes in them.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    ebpf::{self, EbpfError, Kernel, Options},
    mountinfo,
};

/// A parent of zones' cgroups, with a bpffs, for one test. Everything goes when it is dropped.
pub(super) struct Host {
    pub(super) options: Options,
    cpuacct: Option<PathBuf>,
    mount: TempDir,
}

impl Host {
    /// `None`, with the reason printed, where such a test cannot run.
    pub(super) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: takes root");
            return None;
        }
        if let Err(e @ EbpfError::Stub) = ebpf::embedded() {
            println!("skipped: {e}");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("zt-ebpf-{}-{number}", std::process::id());
        let zones = hierarchy("cgroup2", None).expect("cgroup2 is mounted").join(&name);
        fs::create_dir(&zones).unwrap();
        let cpuacct = hierarchy("cgroup", Some("cpuacct")).map(|root| root.join(&name));
        cpuacct.iter().for_each(|group| fs::create_dir(group).unwrap());
        let mount = TempDir::with_prefix("zt-ebpf-").unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("bpf", mount.path(), "bpf", flags, None).unwrap();
        let options = Options { pins: mount.path().join("pins"), zones_cgroup: zones, level: 2 };
        Some(Host { options, cpuacct, mount })
    }

    pub(super) fn open(&self) -> Kernel {
        Kernel::open(&self.options).unwrap()
    }

    /// A zone's cgroup, with a nested one, not assigned yet.
    pub(super) fn zone(&self) -> Zone {
        let uuid = Uuid::new_v4();
        let name = format!("{uuid}.1");
        let cgroup = self.options.zones_cgroup.join(&name);
        fs::create_dir_all(cgroup.join("payload/deeper")).unwrap();
        let cpuacct = self.cpuacct.as_ref().map(|parent| parent.join(&name));
        cpuacct.iter().for_each(|group| fs::create_dir(group).unwrap());
        Zone { uuid, id: fs::metadata(&cgroup).unwrap().ino(), cgroup, cpuacct }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::write(self.options.zones_cgroup.join("cgroup.kill"), "1");
        let empty = || {
            fs::read_to_string(self.options.zones_cgroup.join("cgroup.events"))
                .is_ok_and(|events| events.contains("populated 0"))
        };
        wait_until(Duration::from_secs(10), empty);
        remove_tree(&self.options.zones_cgroup);
        self.cpuacct.iter().for_each(|group| remove_tree(group));
        let _ = ebpf::unload(&self.options.pins);
        let _ = rustix::mount::unmount(self.mount.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

/// A cgroup at the depth of zones.
pub(super) struct Zone {
    pub(super) uuid: Uuid,
    pub(super) id: u64,
    cgroup: PathBuf,
    cpuacct: Option<PathBuf>,
}

impl Zone {
    /// Starts a shell in the zone's cgroup, or in one below it, that runs `script` after a line comes on its
    /// standard input.
    pub(super) fn shell(&self, below: &str, script: &str) -> Child {
        let group = self.cgroup.join(below).join("cgroup.procs");
        let mut groups = format!("echo $$ > {}; ", group.display());
        if let Some(group) = &self.cpuacct {
            groups += &format!("echo $$ > {}/cgroup.procs; ", group.display());
        }
        Command::new("sh")
            .args(["-c", &format!("set -e; {groups}read go; set +e; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Writes a file of the zone's cgroup.
    pub(super) fn set(&self, file: &str, value: &str) {
        fs::write(self.cgroup.join(file), value).unwrap();
    }

    /// A group below the zone's with a weight of its own, made if it is not there.
    pub(super) fn inner(&self, path: &str, weight: u32) {
        let mut group = self.cgroup.clone();
        for name in path.split('/') {
            fs::write(group.join("cgroup.subtree_control"), "+cpu").unwrap();
            group.push(name);
            fs::create_dir_all(&group).unwrap();
        }
        fs::write(group.join("cpu.weight"), weight.to_string()).unwrap();
    }

    /// CPU time of a group below the zone's, by the kernel's own accounting, nanoseconds.
    pub(super) fn usage_of(&self, path: &str) -> u64 {
        usage(&self.cgroup.join(path))
    }

    /// Takes this whole process into the zone.
    pub(super) fn enter(&self) {
        fs::write(self.cgroup.join("cgroup.procs"), "0").unwrap();
    }

    /// Processes that are in the zone now.
    pub(super) fn processes(&self) -> usize {
        let groups =
            ["", "payload", "payload/deeper"].map(|below| self.cgroup.join(below).join("cgroup.procs"));
        groups.iter().map(|g| fs::read_to_string(g).unwrap().lines().count()).sum()
    }

    /// Waits until that many processes are in the zone.
    pub(super) fn wait_for_processes(&self, count: usize) {
        let there = || self.processes() == count;
        assert!(wait_until(Duration::from_secs(10), there), "{count} processes did not come");
    }

    /// CPU time by the kernel's own accounting, nanoseconds.
    pub(super) fn kernel_usage_ns(&self) -> u64 {
        match &self.cpuacct {
            Some(group) => fs::read_to_string(group.join("cpuacct.usage")).unwrap().trim().parse().unwrap(),
            None => usage(&self.cgroup),
        }
    }

    /// What eBPF counted.
    pub(super) fn figures(&self, kernel: &mut Kernel) -> ebpf::Figures {
        kernel.figures().unwrap().into_iter().find(|f| f.zone == Some(self.uuid)).unwrap()
    }
}

/// CPU time of a group of version 2, nanoseconds.
fn usage(group: &Path) -> u64 {
    let stat = fs::read_to_string(group.join("cpu.stat")).unwrap();
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
    usage.parse::<u64>().unwrap() * 1000
}

/// Whether the condition came true in time.
pub(super) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets shells that wait go on.
pub(super) fn go(shells: &mut [Child]) {
    use std::io::Write;
    for shell in shells {
        writeln!(shell.stdin.take().unwrap()).unwrap();
    }
}

/// Where a file system of that type, with that option, is mounted.
pub(super) fn hierarchy(fstype: &str, option: Option<&str>) -> Option<PathBuf> {
    let mounts = mountinfo::mounts().unwrap();
    let of = |m: &&mountinfo::Mount| m.fstype == fstype && option.is_none_or(|o| m.has(o)) && m.visible();
    mounts.iter().find(of).map(|m| m.target.clone())
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // The last process may be gone from the list an instant before the folder can be.
    wait_until(Duration::from_secs(2), || fs::remove_dir(group).is_ok() || !group.exists());
}
