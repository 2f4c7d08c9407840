//! System calls that change or question the kernel itself.

use crate::{
    arena::{Arena, Place, shared},
    attempt::{attempt, judge},
};

const FILTER: &str = "the filter; EPERM because it is a matter of privilege";
const FILTER_AND_KERNEL: &str = "the filter; behind it the kernel asks for a capability of the host";
const FILTER_ABSENT: &str =
    "the filter; ENOSYS because a kernel may lack it and programs know what to do then";
const KERNEL: &str = "the kernel: a capability of the host";
const UNKNOWN: &str = "the filter does not know it: ENOSYS, so that programs take their older way";

#[test]
fn the_kernel_is_not_the_zones() {
    let arena = shared();
    judge(
        &arena,
        "a",
        &[
            // Flags that no kernel knows: EINVAL where it is allowed at all.
            attempt("load another kernel", "kexec_load 0 0 0 4096")
                .refused("EPERM kexec_load", FILTER_AND_KERNEL)
                .but(Place::Host, "EINVAL kexec_load|ENOSYS kexec_load"),
            attempt("load another kernel from a file", "kexec_file_load -1 -1 0 0 4096")
                .refused("EPERM kexec_file_load", FILTER_AND_KERNEL)
                .but(Place::Host, "EINVAL kexec_file_load|EBADF kexec_file_load|ENOSYS kexec_file_load"),
            attempt("load a module", "init_module 0 0 0")
                .refused("EPERM init_module", FILTER_AND_KERNEL)
                .but(Place::Host, "EFAULT init_module|ENOEXEC init_module|ENOSYS init_module"),
            attempt("load a module from a file", "finit_module -1 0 0")
                .refused("EPERM finit_module", FILTER_AND_KERNEL)
                .but(Place::Host, "EBADF finit_module|EFAULT finit_module|ENOSYS finit_module"),
            attempt("unload a module", "delete_module 'zt-none' 2048")
                .refused("EPERM delete_module", FILTER_AND_KERNEL)
                .but(Place::Host, "ENOENT delete_module|ENOSYS delete_module"),
            attempt("ask bpf for anything", "bpf 9999 0 0")
                .refused("EPERM bpf", FILTER)
                .but(Place::Unfiltered, "EINVAL bpf"),
            attempt("make a bpf map", "bpf 0 [0200000004000000040000000100000000000000] 72")
                .refused("EPERM bpf", FILTER_AND_KERNEL)
                .but(Place::Unfiltered, "EPERM bpf")
                .but(Place::Host, "ok"),
            // PERF_TYPE_SOFTWARE, of this process.
            attempt("count events", "perf_event_open [0100000070000000] 0 -1 -1 0")
                .refused("EPERM perf_event_open", FILTER_AND_KERNEL)
                .but(Place::Host, "ok"),
            attempt("count events of the whole machine", "perf_event_open [0100000070000000] -1 0 -1 0")
                .refused("EPERM perf_event_open", FILTER_AND_KERNEL)
                .but(Place::Host, "ok"),
            attempt("stop the kernel in its tracks", "userfaultfd 0")
                .refused("EPERM userfaultfd", FILTER_AND_KERNEL)
                .but_by(Place::Zone("a"), "userfaultfd 1", "ok")
                .but(Place::Host, "ok"),
            attempt("make calls behind the filter's back", "io_uring_setup 1 {120}")
                .refused("ENOSYS io_uring_setup", FILTER_ABSENT)
                .but(Place::Unfiltered, "ok"),
            attempt("read the kernel's log", "syslog 3 {64} 64")
                .refused("EPERM syslog", FILTER_AND_KERNEL)
                .but(Place::Host, "ok"),
            attempt("switch process accounting", "acct 'none/such'")
                .refused("EPERM acct", FILTER_AND_KERNEL)
                .but(Place::Host, "ENOENT acct|ENOSYS acct"),
            attempt("add swap", "swapon '/zt-none' 0")
                .refused("EPERM swapon", FILTER_AND_KERNEL)
                .but(Place::Host, "ENOENT swapon"),
            attempt("take swap away", "swapoff '/zt-none'")
                .refused("EPERM swapoff", FILTER_AND_KERNEL)
                .but(Place::Host, "ENOENT swapoff"),
            // Q_GETFMT of a device that is not there.
            attempt("ask for quotas", "quotactl 0x80000400 '/zt-none' 0 {64}")
                .refused("EPERM quotactl", FILTER)
                .but(Place::Unfiltered, "ENOENT quotactl|ENOSYS quotactl"),
            attempt("hide memory from the host", "memfd_secret 0")
                .refused("ENOSYS memfd_secret", FILTER_ABSENT)
                .but(Place::Unfiltered, "ok|ENOSYS memfd_secret"),
            attempt("be a program of another system", "personality 6")
                .refused("EPERM personality", FILTER)
                .but(Place::Unfiltered, "ok"),
            attempt("map the null page", "personality 0x00100000")
                .refused("EPERM personality", FILTER)
                .but(Place::Unfiltered, "ok"),
            // LINUX_REBOOT_CMD_CAD_OFF, then _KEXEC.
            attempt("switch Ctrl-Alt-Del of the host", "reboot 0xfee1dead 672274793 0")
                .refused(
                    "EINVAL reboot",
                    "in a pid namespace reboot(2) knows restart and power-off, of that namespace",
                )
                .nested("EPERM reboot"),
            attempt("start a loaded kernel", "reboot 0xfee1dead 672274793 0x45584543")
                .refused(
                    "EINVAL reboot",
                    "in a pid namespace reboot(2) knows restart and power-off, of that namespace",
                )
                .nested("EPERM reboot"),
            attempt("watch all files of a mount", "fanotify_init 0 0")
                .refused("EPERM fanotify_init", KERNEL)
                .but(Place::Host, "ok"),
            attempt("hang up the terminal of the host", "vhangup").refused("EPERM vhangup", KERNEL),
            attempt("take part in a call that is no call", "600").refused("ENOSYS 600", UNKNOWN),
            attempt("slip by as an x32 program", "1073741863").refused("ENOSYS 1073741863", UNKNOWN),
        ],
    );
    #[cfg(target_arch = "x86_64")]
    judge(
        &arena,
        "a",
        &[
            attempt("drive ports of the hardware", "iopl 3")
                .refused("EPERM iopl", FILTER_AND_KERNEL)
                .but(Place::Host, "ok|ENOSYS iopl"),
            attempt("drive one port of the hardware", "ioperm 0x80 1 1")
                .refused("EPERM ioperm", FILTER_AND_KERNEL)
                .but(Place::Host, "ok|ENOSYS ioperm"),
        ],
    );
}

#[test]
fn a_power_off_is_the_zones_own() {
    let arena = Arena::new(&["a", "b"]);
    let id = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let before = id();
    // LINUX_REBOOT_CMD_POWER_OFF
    arena.ctx.zonectl(&[
        "exec",
        "a",
        "--",
        "/opt/attack/zone-attack",
        "reboot 0xfee1dead 672274793 0x4321fedc",
    ]);
    arena.ctx.wait_state("a", "installed");
    assert_eq!((arena.ctx.state("b").as_str(), id()), ("running", before));
    arena.finish();
}
