//! What a zone leaves in its files for the host to stumble over.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use crate::{
    arena::{Arena, Place},
    calls::{folder, readable},
};

/// Folders that the next boot mounts on or makes files in.
const PLACES: [&str; 9] = ["dev", "run", "proc", "sys", "tmp", "opt", "usr", "etc", "root"];

#[test]
fn links_lead_the_host_nowhere() {
    let arena = Arena::new(&["a", "b"]);
    let victim = arena.ctx.dir.join("victim");
    fs::create_dir(&victim).unwrap();
    let before = arena.mounts();
    // The zone itself can replace what it has mounted, in a mount namespace without those mounts.
    let plant = "umount -l /run/lock /run && rm -rf /run && ln -s ../../../../..$0 /run && readlink /run";
    let planted = ["exec", "a", "--", "unshare", "-m", "sh", "-c", plant, &victim.display().to_string()];
    assert!(arena.ctx.ok(&planted).trim().ends_with("victim"));
    // And whatever else it may find a way to: every place at once, absolute and relative.
    for (zone, up) in [("a", "../../../../.."), ("b", "")] {
        arena.ctx.ok(&["halt", zone]);
        let root = arena.dataset(zone).join("upper");
        for place in PLACES {
            let place = root.join(place);
            if !place.is_symlink() && place.exists() {
                fs::remove_dir_all(&place).unwrap();
            }
            let _ = fs::remove_file(&place);
            symlink(format!("{up}{}", victim.display()), &place).unwrap();
        }
        // Whether it boots is its own affair: that nothing comes of it outside is the host's.
        let booted = arena.ctx.zonectl(&["boot", zone]);
        println!("a zone full of links boots: {} {}", booted.code, booted.stderr.trim());
        assert!(!booted.stderr.contains("panicked"), "{}", booted.stderr);
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "something was made where the links lead");
        assert_eq!(arena.mounts(), before, "something was mounted on the host");
        for place in PLACES {
            assert!(root.join(place).symlink_metadata().is_ok());
        }
    }
    arena.finish();
}

#[test]
fn set_uid_files_of_a_zone_serve_nobody_on_the_host() {
    let arena = Arena::new(&["a"]);
    arena
        .ctx
        .sh("a", "cp /opt/attack/zone-attack /root/suid && chmod 755 /root && chmod 4755 /root/suid")
        .ok();
    let inside = arena.ctx.zonectl(&["exec", "-u", "1234", "a", "--", "/root/suid", "geteuid"]);
    assert_eq!(inside.ok(), "ok 0\n", "inside, the set-uid bit works: the attempt is a real one");
    let file = arena.dataset("a").join("upper/root/suid");
    let stat = fs::metadata(&file).unwrap();
    assert_eq!((stat.uid(), stat.mode() & 0o7777), (0, 0o4755), "it belongs to the real root");
    // The test's own folder is closed; the daemon's must be by itself.
    fs::set_permissions(&arena.ctx.dir, PermissionsExt::from_mode(0o755)).unwrap();
    let reach = |place, path: &Path| arena.one(place, readable(&path.display().to_string()));
    assert_eq!(reach(Place::HostUser(65_534), &file), "EACCES openat");
    assert_eq!(
        reach(Place::HostUser(65_534), &arena.share().join("zone-attack")),
        "ok 3",
        "others can be reached"
    );
    assert!(reach(Place::Host, &file).starts_with("ok"));
    // Nor do the ids of a zone open another's files, or its own from outside.
    assert_eq!(reach(Place::Escaped("a"), &file), "EACCES openat");
    let run = arena.ctx.dir.join("run/zones").display().to_string();
    assert_eq!(
        arena.one(Place::HostUser(65_534), folder(&run)),
        "EACCES openat",
        "run state is the daemon's"
    );
    arena.finish();
}
