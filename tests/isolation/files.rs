//! Files of the host: those that are shown read-only, and those that are not shown.

use libc::{F_RDLCK, F_SETLEASE, MS_BIND, MS_RDONLY, MS_REMOUNT, O_RDONLY};

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    arena::{Arena, Place, shared},
    attempt::{attempt, judge},
    calls::{create, own_mounts, read, readable, there},
};

const READ_ONLY: &str = "the host attached it read-only before the zone's namespaces were";
const LOCKED: &str = "what was mounted ahead of a user namespace is locked for it (mount_namespaces(7))";
const NOT_THERE: &str = "the zone's root is the whole of its mount namespace";

const CLONE: u32 = 1; // OPEN_TREE_CLONE
const REMOUNT_RO: u64 = MS_BIND | MS_REMOUNT | MS_RDONLY;
const REMOUNT_RW: u64 = MS_BIND | MS_REMOUNT;

/// struct mount_attr: clear MOUNT_ATTR_RDONLY.
const CLEAR_RDONLY: &str = "[0000000000000000010000000000000000000000000000000000000000000000]";

#[test]
fn what_the_host_shows_stays_as_it_is() {
    let arena = shared();
    let own = own_mounts(&format!("mount '/tmp' '/tmp' 0 {MS_BIND} 0"));
    let shared = arena.share().join("x").display().to_string();
    let before = arena.mounts();
    judge(
        &arena,
        "a",
        &[
            attempt("write into the shared /usr", create("/usr/zone-attack"))
                .refused("EROFS openat", READ_ONLY)
                .but_by(Place::Zone("a"), create("/root/zone-attack"), "ok"),
            attempt("write into a folder shared read-only", create("/opt/attack/x"))
                .refused("EROFS openat", READ_ONLY)
                .but_by(Place::Host, create(&shared), "ok"),
            attempt("make /usr writable", format!("mount 'none' '/usr' 0 {REMOUNT_RW} 0"))
                .refused("EPERM mount", LOCKED)
                .but_by(Place::Zone("a"), format!("{own} ; mount 'none' '/tmp' 0 {REMOUNT_RO} 0 ; mount 'none' '/tmp' 0 {REMOUNT_RW} 0"), "ok"),
            attempt("make /usr writable by the new mount API", format!("mount_setattr -100 '/usr' 0 {CLEAR_RDONLY} 32"))
                .refused("EPERM mount_setattr", LOCKED)
                .but_by(Place::Zone("a"), format!("{own} ; mount 'none' '/tmp' 0 {REMOUNT_RO} 0 ; mount_setattr -100 '/tmp' 0 {CLEAR_RDONLY} 32"), "ok"),
            attempt("make the shared folder writable", format!("mount 'none' '/opt/attack' 0 {REMOUNT_RW} 0"))
                .refused("EPERM mount", LOCKED),
            attempt("make another view of /usr writable", own_mounts(&format!("mount '/usr' '/tmp' 0 {MS_BIND} 0 ; mount 'none' '/tmp' 0 {REMOUNT_RW} 0")))
                .refused("EPERM mount", LOCKED),
            attempt("take /usr off", "umount2 '/usr' 2")
                .refused("EINVAL umount2", LOCKED)
                .but_by(Place::Zone("a"), format!("{own} ; umount2 '/tmp' 2"), "ok"),
            attempt("move /usr away", "mount '/usr' '/tmp' 0 8192 0").refused("EINVAL mount", LOCKED),
            attempt("see what is under /usr", format!("open_tree -100 '/' {CLONE}"))
                .refused("EINVAL open_tree", LOCKED)
                .but(Place::Host, "ok"),
            attempt("replace a program of the host's", "renameat2 -100 '/opt/attack/zone-attack' -100 '/opt/attack/y' 0")
                .refused("EROFS renameat2", READ_ONLY),
            attempt("change the mode of a program of the host's", "fchmodat -100 '/usr/bin/env' 493")
                .refused("EROFS fchmodat", READ_ONLY),
        ],
    );
    let over = own_mounts("mount 'none' '/usr' 'tmpfs' 0 0 ; openat -100 '/usr/x' 65 384");
    assert!(arena.one(Place::Zone("a"), over).starts_with("ok"), "the zone may cover it for itself");
    assert!(!std::path::Path::new("/usr/x").exists());
    assert_eq!(arena.mounts(), before, "mounts of the zone have reached the host");
}

#[test]
fn the_hosts_files_are_out_of_reach() {
    let arena = shared();
    let secret = arena.secret();
    let up = "../".repeat(24);
    let handle = handle_of(&arena, "/etc/passwd");
    let escape = |target: &str| {
        format!(
            "mkdirat -100 'cage' 448 ; openat -100 '.' {O_RDONLY} 0 ; chroot 'cage' ; fchdir $3 ; unlinkat $3 'cage' 512 ; chdir '{up}' ; chroot '.' ; {}",
            there(target)
        )
    };
    judge(
        &arena,
        "a",
        &[
            attempt("read a file of the host's by its path", read(&secret))
                .refused("ENOENT openat", NOT_THERE)
                .but(Place::Host, "ok"),
            attempt("climb above the root", readable(&format!("{up}{secret}")))
                .refused("ENOENT openat", NOT_THERE)
                .but(Place::Host, "ok"),
            attempt("climb out of a chroot into the host", format!("chdir '/root' ; {}", escape(&secret)))
                .refused("ENOENT openat", "the root is that of a mount namespace, not of a chroot")
                .but_by(
                    Place::Host,
                    format!("chdir '{}' ; {}", arena.share().display(), escape(&secret)),
                    "ok",
                ),
            attempt(
                "open a file of the host's by number",
                format!("{} ; open_by_handle_at $1 {handle} 0", readable("/usr")),
            )
            .refused("EPERM open_by_handle_at", "the filter")
            .but_by(
                Place::Host,
                format!("openat -100 '/' {O_RDONLY} 0 ; open_by_handle_at $1 {handle} 0"),
                "ok",
            ),
            attempt("keep the host from writing into a file", lease("/opt/attack/zone-attack"))
                .refused("EACCES fcntl", "the filter: a lease on a shared file holds up the host's writers")
                .but(Place::Unfiltered, "ok"),
            attempt(
                "watch what the host does to a whole file system",
                "fanotify_init 0 0 ; fanotify_mark $1 257 2 -100 '/usr'",
            )
            .refused("EPERM fanotify_init|EPERM fanotify_mark", "fanotify_init(2): CAP_SYS_ADMIN of the host")
            .but(Place::Host, "ok"),
        ],
    );
    let ids = [
        ("read", read(&secret), "EACCES openat"),
        ("read passwords", read("/etc/shadow"), "EACCES openat"),
        ("write", create("/etc/zone-attack"), "EACCES openat"),
        (
            "replace the monitor",
            crate::calls::writable(&zone_tests::binary("zone-monitor").display().to_string()),
            "EACCES openat|ETXTBSY openat",
        ),
        ("open a disk", readable("/dev/loop0"), "EACCES openat"),
    ];
    std::fs::set_permissions(&arena.ctx.dir, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (aim, script, says) in ids {
        let said = arena.one(Place::Escaped("a"), script.clone());
        println!(
            "attempt to {aim} once all other walls are gone: {said}; none of the host's ids is the zone's"
        );
        assert!(says.split('|').any(|s| s == said), "{aim}: {said}");
        let said = arena.one(Place::Host, script);
        assert!(said.starts_with("ok") || said == "ETXTBSY openat", "{aim}: {said}, on the host");
    }
}

/// A sparse zone's /etc is made after the host's: of what others may not read there, it has nothing.
#[test]
fn the_hosts_secrets_are_not_copied() {
    let arena = shared();
    let secret =
        |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o004 == 0 && m.len() > 0);
    let secrets: Vec<PathBuf> = walk(Path::new("/etc")).into_iter().filter(|path| secret(path)).collect();
    assert!(secrets.contains(&"/etc/shadow".into()), "the host has secrets: {secrets:?}");
    for path in secrets {
        let hosts = std::fs::read(&path).unwrap();
        let zones = arena.ctx.zonectl(&["exec", "a", "--", "cat", &path.display().to_string()]);
        assert_ne!(zones.stdout.as_bytes(), hosts, "{} of the host's is in the zone", path.display());
    }
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    assert_ne!(arena.ctx.sh("a", "cat /etc/machine-id").stdout, id, "the zone takes itself for the host");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => walk(&entry.path()),
        _ => vec![entry.path()],
    };
    entries.flat_map(below).collect()
}

/// What docs/security.md says is no boundary: it should say so only while it is so.
#[test]
fn what_the_docs_call_no_boundary_is_none() {
    let arena = shared();
    let private = arena.share().join("private");
    std::fs::write(&private, "the host's root's").unwrap();
    std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let shown = "/opt/attack/private";
    assert_eq!(arena.one(Place::Zone("a"), read(shown)), "ok 17", "what is shown is shown as the zone's own");
    // LOCK_EX | LOCK_NB, IN_OPEN
    let lock = format!("{} ; flock $1 6", readable(shown));
    assert_eq!(arena.one(Place::Zone("a"), lock), "ok 0", "locks are the file's, wherever it is seen");
    let watch = format!("inotify_init1 0 ; inotify_add_watch $1 '{shown}' 32");
    assert_eq!(arena.one(Place::Zone("a"), watch), "ok 1", "and so are watches");
}

fn lease(path: &str) -> String {
    format!("{} ; fcntl $1 {F_SETLEASE} {F_RDLCK}", readable(path))
}

/// The file handle of a file of the host's, as a script has it.
fn handle_of(arena: &Arena, path: &str) -> String {
    // struct file_handle: room for 128 bytes, what kind it is, the handle itself.
    let ask = format!("name_to_handle_at -100 '{path}' [80000000] {{8}} 0 ; show &1.3 136");
    let said = arena.one(Place::Host, ask);
    format!("[{}]", said.strip_prefix("ok ").expect("a file handle"))
}
