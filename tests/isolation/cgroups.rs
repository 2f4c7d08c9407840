//! Control groups: a zone's limits are the host's, and so are other zones' groups.

use libc::CLONE_NEWCGROUP;

use crate::{
    arena::{Place, cgroup2, shared},
    attempt::{attempt, judge},
    calls::{folder, mounted, own_mounts, readable, there, writable},
};

const HOSTS_FILE: &str = "the file stays the host's root's; only moving processes is delegated";
const HOSTS_FOLDER: &str = "the folder of the zone's v1 group is the host's root's, who alone may enter it";

fn v1(rest: &str) -> String {
    format!("{} ; {rest}", mounted("cgroup", "pids"))
}

#[test]
fn limits_and_groups_are_the_hosts() {
    let arena = shared();
    let payload = arena.group("a").join("payload");
    let other = arena.group("b");
    let other = other.strip_prefix(cgroup2()).unwrap().display().to_string();
    let hosts = |file: &str| payload.join(file).display().to_string();
    let nested = |rest: &str| {
        let own = own_mounts(&format!("mount 'none' '/tmp' 'cgroup2' 0 0 ; {rest}"));
        format!("unshare {CLONE_NEWCGROUP} ; {own}")
    };
    let mut attempts = vec![
        attempt("kill the whole group", writable("/sys/fs/cgroup/cgroup.kill"))
            .refused("EACCES openat", HOSTS_FILE)
            .but_by(Place::Host, writable(&hosts("cgroup.kill")), "ok"),
        attempt("thaw a paused zone", writable("/sys/fs/cgroup/cgroup.freeze"))
            .refused("EACCES openat", HOSTS_FILE)
            .but_by(Place::Host, writable(&hosts("cgroup.freeze")), "ok"),
        attempt("raise its own bound on groups", writable("/sys/fs/cgroup/cgroup.max.descendants"))
            .refused("EACCES openat", HOSTS_FILE)
            .but_by(Place::Host, writable(&hosts("cgroup.max.descendants")), "ok"),
        attempt("leave the group of exec's commands", nested(&writable("/tmp/cgroup.procs")))
            .refused("EACCES openat", "the group of exec's commands is not delegated"),
        attempt("make groups where exec's commands are", nested("mkdirat -100 '/tmp/x' 448"))
            .refused("EACCES mkdirat", "the group of exec's commands is not delegated"),
        attempt("see the groups above", folder("/sys/fs/cgroup/../cgroup/../../fs/cgroup/exec"))
            .refused("ENOENT openat", "the zone's cgroup namespace begins at its own group")
            .but_by(Place::Host, folder(&arena.group("a").join("exec").display().to_string()), "ok"),
        attempt("see another zone's group", there(&format!("/sys/fs/cgroup{other}")))
            .refused("ENOENT openat", "the zone's cgroup namespace begins at its own group")
            .but_by(Place::Host, there(&arena.group("b").display().to_string()), "ok"),
    ];
    if std::fs::read_to_string("/proc/self/mounts").unwrap().contains(" cgroup rw") {
        let pids = std::path::Path::new("/sys/fs/cgroup/pids").join(&arena.ctx.cgroup);
        let pids = pids.join(arena.group("a").file_name().unwrap());
        attempts.extend([
            attempt("raise its limit of processes", v1(&writable("/tmp/pids.max")))
                .refused("EACCES openat", HOSTS_FOLDER)
                .but_by(Place::Host, writable(&pids.join("pids.max").display().to_string()), "ok"),
            attempt("join another v1 group", v1(&writable("/tmp/cgroup.procs")))
                .refused("EACCES openat", HOSTS_FOLDER),
            attempt("have the host run a program (release_agent)", v1(&writable("/tmp/release_agent")))
                .refused("EACCES openat", HOSTS_FOLDER)
                .but_by(Place::Host, writable("/sys/fs/cgroup/pids/release_agent"), "ok"),
            attempt(
                "set a release_agent by mounting (CVE-2022-0492)",
                mounted("cgroup", "pids,release_agent=/x"),
            )
            .refused("EINVAL mount", "cgroup v1 takes it from the first user namespace only"),
            attempt(
                "allow itself devices",
                format!("{} ; {}", mounted("cgroup", "devices"), writable("/tmp/devices.allow")),
            )
            .refused("EACCES openat", HOSTS_FOLDER),
            attempt("make a hierarchy of its own", mounted("cgroup", "none,name=zt"))
                .refused("EPERM mount", "new v1 hierarchies are for the first cgroup namespace only"),
        ]);
    }
    judge(&arena, "a", &attempts);
    let groups = arena.ctx.sh("a", "cat /proc/self/cgroup /proc/1/cgroup").ok();
    let named = groups.lines().any(|l| l.contains(&arena.ctx.cgroup) || l.contains('-'));
    assert!(!named, "the host's groups are named inside: {groups}");
    assert_eq!(arena.one(Place::Zone("a"), readable("/sys/fs/cgroup/cgroup.procs")), "ok 3");
}
