//! Shared memory, semaphores, message queues and key rings.

use libc::{IPC_CREAT, IPC_EXCL, IPC_RMID, O_CREAT, O_EXCL, O_RDWR};

use crate::{
    arena::{Arena, Place, shared},
    attempt::{Attempt, attempt, judge},
    calls::there,
};

const NAMESPACE: &str = "keys, numbers and names are those of the zone's ipc namespace";
const NEW: i32 = IPC_CREAT | IPC_EXCL | 0o600;

/// System V objects, as `get` makes them with a key and `ctl` removes them; and a POSIX queue and segment.
struct Objects {
    key: u32,
    place: Place,
    ids: [String; 3],
}

const KINDS: [(&str, &str, &str); 3] =
    [("shmget", "4096", "shmctl"), ("semget", "1", "semctl"), ("msgget", "", "msgctl")];

impl Objects {
    fn new(arena: &Arena, place: Place, key: u32) -> Self {
        let made = |(get, size, _): (&str, &str, &str)| {
            let said = arena.one(place, format!("{get} {key} {size} {NEW}"));
            said.strip_prefix("ok ").unwrap_or_else(|| panic!("{get}: {said}")).to_owned()
        };
        let ids = KINDS.map(made);
        let queue = arena.one(place, format!("mq_open '{}' {} 384 0", name(key), O_CREAT | O_EXCL | O_RDWR));
        assert!(queue.starts_with("ok"), "{queue}");
        Self { key, place, ids }
    }

    fn remove(&self, arena: &Arena) {
        for ((_, _, ctl), id) in KINDS.iter().zip(&self.ids) {
            let rest = if *ctl == "semctl" { format!("0 {IPC_RMID} 0") } else { format!("{IPC_RMID} 0") };
            assert!(arena.one(self.place, format!("{ctl} {id} {rest}")).starts_with("ok"));
        }
        assert!(arena.one(self.place, format!("mq_unlink '{}'", name(self.key))).starts_with("ok"));
    }

    fn attempts(&self) -> Vec<Attempt> {
        let Self { key, place, ids } = self;
        vec![
            attempt("find shared memory by its key", format!("shmget {key} 0 0"))
                .refused("ENOENT shmget", NAMESPACE)
                .but(*place, "ok"),
            attempt("attach shared memory by its number", format!("shmat {} 0 0", ids[0]))
                .refused("EINVAL shmat", NAMESPACE)
                .but(*place, "ok"),
            attempt("find semaphores by their key", format!("semget {key} 0 0"))
                .refused("ENOENT semget", NAMESPACE)
                .but(*place, "ok"),
            attempt("find a message queue by its key", format!("msgget {key} 0"))
                .refused("ENOENT msgget", NAMESPACE)
                .but(*place, "ok"),
            attempt("open a message queue by its name", format!("mq_open '{}' {O_RDWR} 0 0", name(*key)))
                .refused("ENOENT mq_open", NAMESPACE)
                .but(*place, "ok"),
        ]
    }
}

fn name(key: u32) -> String {
    format!("zone-attack-{key}")
}

#[test]
fn objects_of_others_are_not_there() {
    let arena = shared();
    let key = 0x5a00_0000 | std::process::id() & 0xff_ffff;
    let hosts = Objects::new(&arena, Place::Host, key);
    // b makes its own by the same key, so it does not see the host's either.
    let other = Objects::new(&arena, Place::Zone("b"), key);
    judge(&arena, "a", &hosts.attempts());
    judge(&arena, "a", &other.attempts());
    hosts.remove(&arena);
    other.remove(&arena);

    let segment = format!("/dev/shm/{}", name(key));
    std::fs::write(&segment, "the host's").unwrap();
    let attempts = [attempt("open shared memory by its name", there(&segment))
        .refused("ENOENT openat", "/dev/shm is the zone's own tmpfs")
        .but(Place::Host, "ok")];
    judge(&arena, "a", &attempts);
    std::fs::remove_file(&segment).unwrap();
}

#[test]
fn key_rings_are_closed() {
    let arena = shared();
    let absent = "the filter; ENOSYS is what a kernel without keys says";
    // KEYCTL_GET_KEYRING_ID of the session's: the ring that the daemon, like this test, was started with.
    let ring = |place| arena.one(place, "keyctl 0 -3 0").trim_start_matches("ok ").to_owned();
    let hosts = ring(Place::Host);
    judge(
        &arena,
        "a",
        &[
            attempt("use a key ring", "keyctl 0 -3 0")
                .refused("ENOSYS keyctl", absent)
                .but(Place::Unfiltered, "ok"),
            attempt("make a key", "add_key 'user' 'zone-attack' 'x' 1 -3")
                .refused("ENOSYS add_key", absent)
                .but(Place::Unfiltered, "ok"),
            attempt("have the host run request-key", "request_key 'user' 'zone-attack-none' 0 0")
                .refused("ENOSYS request_key", absent)
                .but(Place::Unfiltered, "ENOKEY request_key"),
        ],
    );
    // Even without the filter: an exec'd command has a new session ring, and the host's is closed to it.
    assert_ne!(ring(Place::Unfiltered), hosts, "a zone's command has the session key ring of the daemon");
    for (script, says) in [
        (format!("keyctl 6 {hosts} {{256}} 256"), "EACCES keyctl"),
        (format!("keyctl 11 {hosts} {{256}} 256"), "EACCES keyctl"),
    ] {
        assert_eq!(arena.one(Place::Unfiltered, script.clone()), says, "{script}");
        assert!(arena.one(Place::Host, script).starts_with("ok"));
    }
    let seen = arena.ctx.sh("a", "cut -d' ' -f1 /proc/keys").ok();
    let number = format!("{:08x}", hosts.parse::<u32>().unwrap());
    assert!(!seen.lines().any(|line| line == number), "a key of the host's is seen: {seen}");
    assert!(std::fs::read_to_string("/proc/keys").unwrap().lines().any(|line| line.starts_with(&number)));
}
