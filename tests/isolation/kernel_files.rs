//! `/proc` and `/sys` beside processes: settings of the host, and what tells of it.

use crate::{
    arena::{Place, shared},
    attempt::{Attempt, attempt, judge},
    calls::{read, readable, writable},
};

const OWNER: &str = "its owner, the host's root, is nobody in the zone";

/// Files by which the host is governed.
const SETTINGS: &[(&str, &str)] = &[
    ("have the host run a program at a crash", "/proc/sys/kernel/core_pattern"),
    ("press keys of the host's keyboard", "/proc/sysrq-trigger"),
    ("say which keys work", "/proc/sys/kernel/sysrq"),
    ("panic the host", "/proc/sys/kernel/panic_on_oops"),
    ("have the host load modules by its program", "/proc/sys/kernel/modprobe"),
    ("have the host run a program at every event", "/sys/kernel/uevent_helper"),
    ("drop the host's caches", "/proc/sys/vm/drop_caches"),
    ("overcommit the host's memory", "/proc/sys/vm/overcommit_memory"),
    ("dump set-uid programs", "/proc/sys/fs/suid_dumpable"),
    ("open bpf to all", "/proc/sys/kernel/unprivileged_bpf_disabled"),
    ("open perf to all", "/proc/sys/kernel/perf_event_paranoid"),
    ("move the host's interrupts", "/proc/irq/default_smp_affinity"),
    ("put the host to sleep", "/sys/power/state"),
    ("set the host's memory policy", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("feign an event of a disk", "/sys/block/loop0/uevent"),
];

/// Files that tell what only the host should know.
const SECRETS: &[(&str, &str)] = &[
    ("read the kernel's memory", "/proc/kcore"),
    ("read the kernel's log", "/proc/kmsg"),
    ("read what pages hold", "/proc/kpageflags"),
    ("read the kernel's own allocations", "/proc/vmallocinfo"),
    ("read what the kernel allocates", "/proc/slabinfo"),
    ("read the host's timers", "/proc/timer_list"),
];

fn refused(aim: &'static str, path: &str, script: String) -> Attempt {
    if std::path::Path::new(path).exists() {
        attempt(aim, script).refused("EACCES openat", OWNER).but(Place::Host, "ok")
    } else {
        attempt(aim, script)
            .refused("ENOENT openat", "this kernel does not have it")
            .but(Place::Host, "ENOENT openat")
    }
}

#[test]
fn the_hosts_settings_stay() {
    let arena = shared();
    let settings = SETTINGS.iter().map(|(aim, path)| refused(aim, path, writable(path)));
    let secrets = SECRETS.iter().map(|(aim, path)| refused(aim, path, readable(path)));
    judge(&arena, "a", &settings.chain(secrets).collect::<Vec<_>>());
}

/// Every file of /proc a zone's root may write belongs to one of its namespaces.
#[test]
fn all_that_is_writable_belongs_to_the_zone() {
    let arena = shared();
    let found =
        arena.ctx.sh("a", "find /proc -path '/proc/[0-9]*' -prune -o -type f -writable -print; true").ok();
    let of_a_namespace = |path: &str| {
        let Some(name) = path.strip_prefix("/proc/sys/") else {
            // Thresholds of one's own poll(2), open to every user of the host as well (psi.rst).
            return path.starts_with("/proc/pressure/");
        };
        let ipc =
            ["sem", "shm", "msg", "auto_msgmni"].iter().any(|p| name.starts_with(&format!("kernel/{p}")));
        ["net/", "user/", "fs/mqueue/"].iter().any(|folder| name.starts_with(folder))
            || ipc
            || matches!(name, "kernel/pid_max" | "kernel/ns_last_pid")
    };
    assert!(found.lines().any(|path| path == "/proc/sys/kernel/pid_max"), "{found}");
    let foreign: Vec<_> = found.lines().filter(|path| !of_a_namespace(path)).collect();
    assert!(foreign.is_empty(), "a zone can write {foreign:?}");
    // One of them, to show that it is the zone's: the host's stays.
    let hosts = || std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    let before = hosts();
    arena.ctx.sh("a", "echo 77 > /proc/sys/kernel/shmmni && grep -q 77 /proc/sys/kernel/shmmni").ok();
    assert_eq!(hosts(), before);
}

/// Of what only root may read in /proc and /sys, the zone's root reads what belongs to its network alone.
#[test]
fn what_only_root_may_read_is_not_the_zones() {
    let arena = shared();
    let look = "find /proc /sys -path '/proc/[0-9]*' -prune -o -type f ! -perm -004 -perm /400 -readable -print; true";
    let found = arena.ctx.sh("a", look).ok();
    let foreign: Vec<_> = found.lines().filter(|path| !path.starts_with("/proc/sys/net/")).collect();
    assert!(foreign.is_empty(), "a zone can read {foreign:?}");
    let all = arena.ctx.sh("a", &look.replace("-readable", "")).ok();
    assert!(all.lines().count() > 10 + found.lines().count(), "there are such files: {all}");
}

#[test]
fn what_can_be_read_tells_nothing_of_the_host() {
    let arena = shared();
    let file = std::fs::File::create(arena.ctx.dir.join("locked")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
    let locks = |text: String| text.lines().any(|line| line.contains(&format!(":{inode} ")));
    assert!(locks(std::fs::read_to_string("/proc/locks").unwrap()), "the host sees its lock");
    assert!(!locks(arena.ctx.sh("a", "cat /proc/locks").ok()), "a lock of the host's is seen");

    let symbols = arena.ctx.sh("a", "cut -c1-16 /proc/kallsyms | sort -u").ok();
    assert_eq!(symbols.trim(), "0000000000000000", "addresses of the kernel are seen");
    let hosts = std::fs::read_to_string("/proc/kallsyms").unwrap();
    assert!(hosts.lines().any(|l| !l.starts_with("0000000000000000")), "the host sees none itself");

    let shown = arena
        .ctx
        .sh("a", "cat /proc/self/mountinfo /proc/1/mountinfo /proc/*/cmdline /proc/cmdline; env")
        .ok();
    let store = arena.ctx.dir.join("lib").display().to_string();
    assert!(!shown.contains(&store), "folders of the daemon are named inside: {shown}");
    let name = arena.one(Place::Zone("a"), read("/proc/1/cmdline"));
    assert!(name.starts_with("ok"), "{name}");
}
