//! File systems of the kernel that show or govern the whole host.

use crate::{
    arena::{Place, shared},
    attempt::{Attempt, attempt, judge},
    calls::{mounted, own_mounts, readable},
};

const NOT_FOR_ZONES: &str = "the kernel mounts it for the host's root only (no FS_USERNS_MOUNT)";

/// Mounted by the host where its kernel has it at all.
fn host_only(aim: &'static str, kind: &str) -> Attempt {
    // Of a kernel without it nobody gets it: the answer is the same for all then, and checked to be.
    let script = mounted(kind, "");
    if has(kind) {
        attempt(aim, script).refused("EPERM mount", NOT_FOR_ZONES).but(Place::Host, "ok")
    } else {
        attempt(aim, script)
            .refused("ENODEV mount", "this kernel does not have it")
            .but(Place::Host, "ENODEV mount")
    }
}

fn has(kind: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    known.lines().any(|line| line.rsplit('\t').next() == Some(kind))
}

#[test]
fn file_systems_of_the_whole_host_stay_closed() {
    let arena = shared();
    judge(
        &arena,
        "a",
        &[
            host_only("mount the host's device tree", "devtmpfs"),
            host_only("mount debugfs", "debugfs"),
            host_only("mount tracefs", "tracefs"),
            host_only("mount securityfs", "securityfs"),
            host_only("mount bpffs", "bpf"),
            host_only("mount pstore", "pstore"),
            host_only("mount configfs", "configfs"),
            attempt("mount a disk's file system", own_mounts("mount '/dev/loop0' '/tmp' 'ext4' 0 0"))
                .refused(
                    "ENOENT mount|EPERM mount",
                    "there is no node of a disk, and ext4 is not for user namespaces",
                )
                .but(Place::Host, "EINVAL mount|EIO mount|ENXIO mount|ok"),
            attempt("mount a disk's file system without a node", mounted("ext4", ""))
                .refused("EPERM mount", NOT_FOR_ZONES)
                .but(Place::Host, "ENOENT mount|EINVAL mount"),
        ],
    );
}

/// The file systems below what the zone is shown: thawing one that is not frozen, or changing nothing of one, is EINVAL
/// or nothing for who may.
#[test]
fn file_systems_of_the_host_are_not_the_zones_to_govern() {
    let arena = shared();
    let owner = "the file system belongs to the host's user namespace";
    // The first of these calls is the script's call `n`. MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_BENEATH
    let beneath = |target: &str, n: u32| {
        let [made, mount] = [n, n + 2].map(|call| format!("${call}"));
        format!(
            "fsopen 'tmpfs' 0 ; fsconfig {made} 6 0 0 0 ; fsmount {made} 0 0 ; move_mount {mount} '' -100 '{target}' 0x204"
        )
    };
    let off = format!("umount2 '/usr' {}", nix::mount::MntFlags::MNT_DETACH.bits());
    let own = own_mounts("mount 'none' '/tmp' 'tmpfs' 0 0 ; fspick -100 '/tmp' 0 ; fsconfig $4 7 0 0 0");
    let on_own = own_mounts(&format!("mount 'none' '/tmp' 'tmpfs' 0 0 ; {}", beneath("/tmp", 4)));
    let ioctl = |request: u32, argument: &str| {
        format!("{} ; ioctl $1 {request} {argument}", readable("/usr/bin/env"))
    };
    judge(
        &arena,
        "a",
        &[
            attempt("remount the file system of /usr", "fspick -100 '/usr' 0 ; fsconfig $1 7 0 0 0")
                .refused("EPERM fsconfig", owner)
                .but_by(Place::Zone("a"), own.clone(), "ok"),
            attempt("remount the file system of /dev", "fspick -100 '/dev' 0 ; fsconfig $1 7 0 0 0")
                .refused("EPERM fsconfig", owner)
                .but_by(Place::Host, own, "ok"),
            // Since Linux 7 something may go beneath, and then the lock is on that.
            attempt(
                "get to what is under /usr",
                own_mounts(&format!("{} ; {off} ; {off}", beneath("/usr", 3))),
            )
            .refused("EINVAL move_mount|EINVAL umount2", "locked: what covers something cannot be taken off")
            .but_by(Place::Zone("a"), on_own, "ok"),
            // FITHAW; FIFREEZE, its sister, asks for the same right and would stop the host.
            attempt("freeze the host's file system", ioctl(0xc004_5878, "0"))
                .refused("EPERM ioctl", owner)
                .but(Place::Host, "EINVAL ioctl|EOPNOTSUPP ioctl"),
            // FIBMAP
            attempt("see where on the disk a file is", ioctl(1, "{4}"))
                .refused("EPERM ioctl", "CAP_SYS_RAWIO of the host")
                .but(Place::Host, "ok|EINVAL ioctl"),
        ],
    );
}

#[test]
fn what_a_zone_may_mount_is_its_own() {
    let arena = shared();
    // A program of the zone's for a kind of file of its own: registered for its user namespace only.
    let register =
        "mount -t binfmt_misc none /mnt && echo ':zt:E::zt::/bin/true:' > /mnt/register && ls /mnt";
    let shown = arena.ctx.sh("a", register).ok();
    assert!(shown.contains("zt"), "the zone has its own binfmt_misc: {shown}");
    let hosts = arena.one(Place::Host, format!("{} ; openat -100 '/tmp/zt' 0 0", mounted("binfmt_misc", "")));
    assert_eq!(hosts, "ENOENT openat", "a program format of the zone's has reached the host");
    // A fresh sysfs may be writable: what is in it is the host's root's all the same, but for the zone's network.
    let writable = "unshare -m sh -c 'mount -t sysfs s /mnt && find /mnt -type f -writable; echo done'";
    let shown = arena.ctx.sh("a", writable).ok();
    let foreign: Vec<_> = shown.lines().filter(|l| !l.contains("/net/") && *l != "done").collect();
    assert!(shown.ends_with("done\n") && foreign.is_empty(), "writable in sysfs: {foreign:?}");
    // Isolation is not by covering things up: a sandbox inside still gets a proc of its own.
    arena.ctx.zonectl(&["exec", "a", "--", "unshare", "-Urmpf", "--mount-proc", "true"]).ok();
}
