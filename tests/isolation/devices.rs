//! Devices: nodes that are there, nodes that could be made or brought in, and what a terminal does.

use libc::{O_NOCTTY, O_RDWR, TIOCSETD, TIOCSTI};

use crate::{
    arena::{Place, shared},
    attempt::{attempt, judge},
    calls::{both, readable, there},
};

const NO_NODES: &str = "mknod(2) of a device takes CAP_MKNOD of the host";
const NODEV: &str = "devices do not open on mounts that the host gives (nodev)";
const TIOCLINUX: u32 = 0x541c;

/// S_IFBLK and S_IFCHR, for their owner only.
const BLOCK: u32 = 0o60600;
const CHAR: u32 = 0o20600;
/// Major and minor in one: the first loop device, /dev/mem, /dev/null.
const LOOP0: u32 = 0x700;
const MEM: u32 = 0x101;

fn node(path: &str, kind: u32, device: u32) -> String {
    format!("mknodat -100 '{path}' {kind} {device} ; unlinkat -100 '{path}' 0")
}

#[test]
fn devices_are_those_of_the_brand() {
    let arena = shared();
    let hosts = |name: &str| arena.share().join(name).display().to_string();
    let here = |name: &str| format!("/opt/attack/{name}");
    assert!(
        arena.one(Place::Host, format!("mknodat -100 '{}' {BLOCK} {LOOP0}", hosts("disk"))).starts_with("ok")
    );
    let on_host = arena.ctx.dir.join("node").display().to_string();
    judge(
        &arena,
        "a",
        &[
            attempt("make the node of a disk", node("/root/disk", BLOCK, LOOP0))
                .refused("EPERM mknodat", NO_NODES)
                .but_by(Place::Host, node(&on_host, BLOCK, LOOP0), "ok")
                .but_by(Place::Group("a"), node(&on_host, BLOCK, LOOP0), "EPERM mknodat"),
            attempt("make the node of memory", node("/tmp/mem", CHAR, MEM))
                .refused("EPERM mknodat", NO_NODES)
                .but_by(Place::Host, node(&on_host, CHAR, MEM), "ok")
                .but_by(Place::Group("a"), node(&on_host, CHAR, MEM), "EPERM mknodat"),
            attempt("open a disk's node that the host shares by mistake", readable(&here("disk")))
                .refused("EACCES openat", NODEV)
                .but_by(Place::Host, readable(&hosts("disk")), "ok|ENXIO openat")
                .but_by(Place::Group("a"), readable(&hosts("disk")), "EPERM openat"),
            attempt("find other devices", there("/dev/loop0"))
                .refused("ENOENT openat", "/dev is a small tmpfs with the brand's devices")
                .but(Place::Host, "ok"),
            attempt("read the kernel's log by its device", readable("/dev/kmsg"))
                .refused("ENOENT openat", "/dev is a small tmpfs with the brand's devices")
                .but(Place::Host, "ok")
                .but(Place::Group("a"), "EPERM openat"),
            attempt("change the mode of the host's /dev/null", "fchmodat -100 '/dev/null' 384")
                .refused("EPERM fchmodat", "its owner, the host's root, is nobody in the zone")
                .but_by(Place::Host, "fchmodat -100 '/dev/null' 438", "ok"),
            attempt("give the host's /dev/null away", "fchownat -100 '/dev/null' 1 1 0")
                .refused("EPERM fchownat", "its owner, the host's root, is nobody in the zone")
                .nested("EINVAL fchownat"),
            attempt("take the host's /dev/null off", "umount2 '/dev/null' 2")
                .refused("EINVAL umount2", "locked: it was mounted ahead of the user namespace"),
            // RNDRESEEDCRNG
            attempt("stir the host's random numbers", format!("{} ; ioctl $1 0x5207", both("/dev/urandom")))
                .refused("EPERM ioctl", "random(4): CAP_SYS_ADMIN of the host")
                .but(Place::Host, "ok"),
        ],
    );
    // The same program lets through what the brand lists.
    assert!(arena.one(Place::Group("a"), both("/dev/null")).starts_with("ok"));
    let found = arena
        .ctx
        .sh("a", "for f in /dev/* /dev/*/*; do [ -b $f ] || [ -c $f ] && [ ! -L $f ] && echo $f; done; true")
        .ok();
    let known = ["console", "full", "null", "random", "tty", "urandom", "zero", "pts/0", "pts/ptmx"];
    let known: String = known.iter().map(|name| format!("/dev/{name}\n")).collect();
    assert_eq!(found, known);
}

#[test]
fn nothing_is_typed_on_a_terminal() {
    let arena = shared();
    let filter = "the filter, whatever the descriptor is";
    let on_console =
        |request: u64| format!("openat -100 '/dev/console' {} 0 ; ioctl $1 {request} 'x'", O_RDWR | O_NOCTTY);
    judge(
        &arena,
        "a",
        &[
            attempt("type on the console", on_console(TIOCSTI)).refused("EPERM ioctl", filter),
            attempt("type on a terminal", format!("ioctl -1 {TIOCSTI} 'x'"))
                .refused("EPERM ioctl", filter)
                .but(Place::Unfiltered, "EBADF ioctl"),
            attempt("type with high bits set", format!("ioctl -1 {} 'x'", TIOCSTI | 1 << 32))
                .refused(
                    "EPERM ioctl",
                    "the filter looks at the half of the argument that the kernel looks at",
                )
                .but(Place::Unfiltered, "EBADF ioctl"),
            attempt("paste into a terminal", format!("ioctl -1 {TIOCLINUX} 'x'"))
                .refused("EPERM ioctl", filter)
                .but(Place::Unfiltered, "EBADF ioctl"),
            // TIOCCONS, TIOCVHANGUP
            attempt("have the host's console on its own", on_console(0x541d))
                .refused("EPERM ioctl", "the kernel: CAP_SYS_ADMIN of the host"),
            attempt("hang up a terminal", on_console(0x5437))
                .refused("EPERM ioctl", "the kernel: CAP_SYS_ADMIN of the host"),
            attempt("put a line discipline on a terminal", format!("ioctl -1 {TIOCSETD} 'x'"))
                .refused("EPERM ioctl", filter)
                .but(Place::Unfiltered, "EBADF ioctl"),
        ],
    );
}
