//! Control groups: a zone's limits are the host's, and so are other zones' groups.

use std::{
    fs,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
};

use libc::CLONE_NEWCGROUP;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use zone_tests::{TestCtx, run, wait};

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

/// A daemon of a test's context in a mount namespace of its own. Ended when dropped.
struct Apart {
    daemon: Child,
    mounts: fs::File,
}

impl Apart {
    fn start(ctx: &TestCtx) -> Self {
        let daemon = ctx.daemon_command();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.arg(daemon.get_program()).args(daemon.get_args());
        let log = fs::File::options().append(true).open(ctx.dir.join("log")).unwrap();
        let daemon = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        wait::until("the daemon answers", || ctx.zonectl(&["list"]).code == 0);
        let mounts = fs::File::open(format!("/proc/{}/ns/mnt", daemon.id())).unwrap();
        Self { daemon, mounts }
    }

    /// Runs a shell's line in the mount namespace, which outlives the daemon.
    fn run(&self, line: &str) -> String {
        let mut command = Command::new("nsenter");
        let mounts = format!("--mount=/proc/{}/fd/{}", std::process::id(), self.mounts.as_raw_fd());
        command.args([&mounts, "sh", "-c", line]);
        run(command).ok()
    }

    fn stop(&mut self) {
        kill(Pid::from_raw(self.daemon.id() as i32), Signal::SIGTERM).unwrap();
        wait::until("the daemon has ended", || matches!(self.daemon.try_wait(), Ok(Some(_))));
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The hierarchy is mounted where no other process sees it. The test's guard knows it by its name and sees to its end:
/// the kernel keeps one whose last group is still on its way out when it is unmounted.
#[test]
fn a_hierarchy_that_is_mounted_later_shows_no_figures_of_the_hosts() {
    let mut ctx = TestCtx::new();
    ctx.create("zone: a").ok();
    ctx.ok(&["install", "a"]);
    ctx.stop_daemon();
    let mut daemon = Apart::start(&ctx);
    let name = format!("name={}", ctx.cgroup.replace('-', ""));
    let late = ctx.dir.join("late").display().to_string();
    ctx.ok(&["boot", "a"]);
    let mount = format!("mount -t cgroup -o none,{name} none {late}");
    daemon.run(&format!("mkdir {late} && {mount}"));
    let group = || {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", ctx.info("a")["init_pid"])).unwrap();
        let line = groups.lines().find(|line| line.contains(&name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(':').next().map(str::to_owned)).unwrap()
    };
    let peek = format!("mount -t cgroup -o none,{name} none /mnt && wc -l < /mnt/cgroup.procs");
    let peek = || ctx.zonectl(&["exec", "a", "--", "unshare", "--mount", "sh", "-c", &peek]);
    assert_eq!(group(), "/", "it was there before the hierarchy was");
    assert!(peek().ok().trim().parse::<u32>().unwrap() > 1, "the host's processes are what there is to see");
    ctx.ok(&["reboot", "a"]);
    let info = ctx.info("a");
    let tag = format!("{}.{}", info["uuid"].as_str().unwrap(), info["boot"]);
    assert_eq!(group(), format!("/{}/{tag}", ctx.cgroup));
    // Before Linux 6.16 it cannot even be mounted: the way to the zone's group is walked with the rights of its root.
    let peeked = peek();
    let refused = ["cannot mount none", "Permission denied"].iter().any(|word| peeked.stderr.contains(word));
    assert!(peeked.code != 0 && peeked.stdout.is_empty() && refused, "{peeked:?}");
    let inside = ctx.sh("a", "cat /proc/self/cgroup").ok();
    assert!(inside.contains(&format!(":{name}:/\n")), "{inside}");
    // Commands come into the same groups, or not at all.
    daemon.run(&format!("umount {late}"));
    ctx.zonectl(&["exec", "a", "--", "/bin/true"]).fails(125, "the hierarchy is no longer mounted there");
    daemon.run(&mount);
    ctx.ok(&["exec", "a", "--", "/bin/true"]);
    ctx.ok(&["halt", "a"]);
    let groups = format!("find {late} -mindepth 1 -type d");
    assert!(!daemon.run(&groups).contains(&tag), "the group of the boot is left");
    ctx.ok(&["audit"]);
    daemon.stop();
    assert_eq!(daemon.run(&groups), "", "the group of all zones is left");
    drop(daemon);
    ctx.start_daemon();
    ctx.finish();
    let known = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(!known.contains(&name), "the hierarchy is left: {known}");
}
