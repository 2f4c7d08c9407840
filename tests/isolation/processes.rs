//! Processes: the host's, another zone's, and the zone's own first one, which runs a program of the host's.

use std::process::{Child, Command, Stdio};

use libc::{CLONE_NEWNS, O_PATH, O_WRONLY, PTRACE_ATTACH};

use crate::{
    arena::{Place, shared},
    attempt::{Attempt, attempt, judge},
    calls::{both, folder, readable},
};

const NOT_THERE: &str = "the number is nobody's in the zone's pid namespace";
const UNDUMPABLE: &str =
    "not dumpable since the host made it, and its memory belongs to the host's user namespace";
/// One byte at address 4096: EFAULT where the memory may be read at all.
const IOVEC: &str = "[00100000000000000100000000000000]";

/// A process of the host's that ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        let sleep = Command::new("sleep").arg("618.5").stdin(Stdio::null()).spawn();
        Self(sleep.unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_of_others_are_out_of_reach() {
    let arena = shared();
    let sleeper = Sleeper::new();
    let (host, other) = (sleeper.0.id(), arena.init_pid("b"));
    let daemon = arena.ctx.daemon_pid();
    judge(
        &arena,
        "a",
        &[
            attempt("signal a process of the host's", format!("kill {host} 0"))
                .refused("ESRCH kill", NOT_THERE)
                .but(Place::Host, "ok"),
            attempt("signal the daemon", format!("kill {daemon} 0"))
                .refused("ESRCH kill", NOT_THERE)
                .but(Place::Host, "ok"),
            attempt("signal another zone", format!("kill {other} 0"))
                .refused("ESRCH kill", NOT_THERE)
                .but(Place::Host, "ok"),
            attempt("take hold of a process of the host's", format!("pidfd_open {host} 0"))
                .refused("ESRCH pidfd_open", NOT_THERE)
                .but(Place::Host, "ok"),
            attempt("trace a process of the host's", format!("ptrace {PTRACE_ATTACH} {host} 0 0"))
                .refused("ESRCH ptrace", NOT_THERE)
                .but(Place::Host, "ok"),
            attempt("find a process of the host's in /proc", folder(&format!("/proc/{host}")))
                .refused("ENOENT openat", "/proc is that of the zone's pid namespace")
                .but(Place::Host, "ok"),
            attempt(
                "find its own parent namespaces",
                "openat -100 '/proc/self/ns/user' 0 0 ; ioctl $1 0xb702 0",
            )
            .refused("EPERM ioctl", "NS_GET_PARENT ends at the caller's own user namespace")
            .nested("EPERM ioctl")
            .but(Place::Nested("b"), "EPERM ioctl|ok"),
            attempt(
                "find the pid namespace above",
                "openat -100 '/proc/self/ns/pid' 0 0 ; ioctl $1 0xb702 0",
            )
            .refused("EPERM ioctl", "NS_GET_PARENT ends at the caller's own pid namespace"),
            attempt("run ahead of everybody", "sched_setscheduler 0 1 [01000000]")
                .refused("EPERM sched_setscheduler", "CAP_SYS_NICE of the host")
                .but(Place::Host, "ok|EPERM sched_setscheduler"),
            attempt("be nicer than the host allows", "setpriority 0 0 -5")
                .refused("EACCES setpriority", "CAP_SYS_NICE of the host, and RLIMIT_NICE")
                .but(Place::Host, "ok"),
            attempt("read disks ahead of everybody", "ioprio_set 1 0 0x2000")
                .refused("EPERM ioprio_set", "CAP_SYS_NICE of the host")
                .but(Place::Host, "ok"),
            attempt(
                "be the last to be killed",
                "openat -100 '/proc/self/oom_score_adj' 1 0 ; write $1 '-500' 4",
            )
            .refused("EACCES write", "CAP_SYS_RESOURCE of the host"),
            attempt("raise a limit", "prlimit64 0 7 [00000040000000000000004000000000] 0")
                .refused("EPERM prlimit64", "CAP_SYS_RESOURCE of the host"),
        ],
    );
    // With all else gone the ids remain: root of a zone is nobody special to the host.
    for (script, says) in [
        (format!("kill {host} 0"), "EPERM kill"),
        (format!("ptrace {PTRACE_ATTACH} {host} 0 0"), "EPERM ptrace"),
        (format!("kill {other} 0"), "EPERM kill"),
        (format!("pidfd_open {host} 0 ; setns $1 {CLONE_NEWNS}"), "EPERM setns"),
        (folder(&format!("/proc/{host}/root/")), "EACCES openat"),
    ] {
        assert_eq!(arena.one(Place::Escaped("a"), script.clone()), says, "{script}");
        assert!(arena.one(Place::Host, script.clone()).starts_with("ok"), "{script}, on the host");
    }
    let seen = arena.ctx.sh("a", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").ok();
    assert!(!seen.contains("618.5") && seen.contains("zone-init"), "{seen}");
}

/// A command of exec's is a child of the monitor's; by CLONE_PARENT it can give the monitor more of them.
#[test]
fn children_foisted_on_the_monitor_do_no_harm() {
    let arena = shared();
    let clone = brands::syscall::number("clone", brands::syscall::HOST[0]).unwrap();
    // clone(CLONE_PARENT | SIGCHLD)
    let foist = format!(
        "for (1 .. 50) {{ exit 7 unless syscall({clone}, 32785, 0, 0, 0, 0) }} print getppid; exit 5"
    );
    let outcome = arena.ctx.zonectl(&["exec", "a", "--", "perl", "-e", &foist]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (5, "0"), "{}", outcome.stderr);
    for code in 1..20 {
        assert_eq!(arena.ctx.sh("a", &format!("exit {code}")).code, code);
    }
}

/// What the zone's root may do is bounded, whatever it runs.
#[test]
fn capabilities_are_bounded() {
    let arena = shared();
    let status = arena.ctx.sh("a", "cat /proc/self/status").ok();
    let set = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    let profile = brands::Library::built_in().unwrap().get("native").unwrap();
    let rules = profile.capabilities.prohibited.iter();
    for cap in rules.flat_map(|rule| &rule.names) {
        for name in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(set(name) & (1 << cap.number()), 0, "{name} has {cap:?}");
        }
    }
    assert_ne!(set("CapEff"), 0);
    assert_eq!((set("CapInh"), set("CapAmb")), (0, 0));
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn two_zones_share_no_ids() {
    let arena = shared();
    let base = |zone| arena.ctx.info(zone)["id_base"].as_u64().unwrap();
    let (a, b) = (base("a"), base("b"));
    assert!(a.abs_diff(b) >= 65_536, "{a} and {b}");
    for (zone, base) in [("a", a), ("b", b)] {
        let map = std::fs::read_to_string(format!("/proc/{}/uid_map", arena.init_pid(zone))).unwrap();
        let words: Vec<_> = map.split_whitespace().collect();
        assert_eq!(words, ["0", base.to_string().as_str(), "65536"]);
    }
}

/// The same attempts on a process of the host's making, which must fail, and on one of the zone's own, which must not.
pub(crate) fn prying(pid: &str, why: &'static str) -> Vec<Attempt> {
    let path = |name: &str| format!("/proc/{pid}/{name}");
    let place = |name: &str| format!("openat -100 '{}' {O_PATH} 0", path(name));
    let no = |aim, script: String| attempt(aim, script).refused("EACCES openat", why);
    vec![
        no("read the program of", readable(&path("exe"))),
        no("write to the program of", format!("openat -100 '{}' {O_WRONLY} 0", path("exe"))),
        no("get hold of the program of", place("exe")),
        attempt("learn where the program is of", format!("readlinkat -100 '{}' {{256}} 256", path("exe")))
            .refused("EACCES readlinkat", why),
        no("use the root of", place("root")),
        no("use the folder of", place("cwd")),
        no("see descriptors of", folder(&path("fd"))),
        no("read the memory of", readable(&path("mem"))),
        no("write to the memory of", both(&path("mem"))),
        no("see the memory map of", readable(&path("maps"))),
        no("read the environment of", readable(&path("environ"))),
        no("use namespaces of", readable(&path("ns/mnt"))),
        attempt("trace", format!("ptrace {PTRACE_ATTACH} {pid} 0 0")).refused("EPERM ptrace", why),
        attempt("copy memory of", format!("process_vm_readv {pid} {IOVEC} 1 {IOVEC} 1 0"))
            .refused("EPERM process_vm_readv", why),
        attempt("copy a descriptor of", format!("pidfd_open {pid} 0 ; pidfd_getfd $1 0 0"))
            .refused("EPERM pidfd_getfd", why),
    ]
}

#[test]
fn the_first_process_hides_the_hosts_program() {
    let arena = shared();
    judge(&arena, "a", &prying("1", UNDUMPABLE));
    // The zone's own process is as open as any: the scripts are right.
    let own = "sleep 30 >/dev/null 2>&1 & echo $!";
    let own = arena.ctx.sh("a", own).ok();
    let scripts: Vec<String> = prying(own.trim(), "").iter().map(|a| a.script().to_owned()).collect();
    for (said, script) in arena.run(Place::Zone("a"), &scripts).iter().zip(&scripts) {
        let fine = said.starts_with("ok") || said == "EFAULT process_vm_readv" || said == "ETXTBSY openat";
        assert!(fine, "{script}: {said}, of a process of the zone's own");
    }
}
