//! What a zone leaves in its files for the host to stumble over.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::{
    arena::{Arena, Place},
    calls::{folder, readable},
};

/// Folders that the next boot mounts on or makes files in.
const PLACES: [&str; 8] = ["usr", "dev", "run", "proc", "sys", "opt", "etc", "root"];

#[test]
fn links_lead_the_host_nowhere() {
    let arena = Arena::new(&["a", "b"]);
    let victim = arena.ctx.dir.join("victim");
    fs::create_dir(&victim).unwrap();
    let before = arena.mounts();
    // The zone itself can replace what it has mounted, in a mount namespace without those mounts.
    let replace = "umount -l /run/lock /run && rm -rf /run && ln -s ../../../../..$0 /run && readlink /run";
    let planted = ["exec", "a", "--", "unshare", "-m", "sh", "-c", replace, &victim.display().to_string()];
    assert!(arena.ctx.ok(&planted).trim().ends_with("victim"));
    arena.ctx.ok(&["halt", "a"]);
    // And whatever else it may find a way to: each place by itself, then all at once.
    for place in PLACES {
        plant(&arena, "a", &[place], "../../../../..");
    }
    plant(&arena, "b", &PLACES, "");
    assert_eq!(arena.mounts(), before, "something was mounted on the host");
    arena.finish();
}

/// Puts links in places of a zone's root and boots it. Where they lead there is a folder inside as well, so that a boot
/// which follows them as it should comes to its end.
fn plant(arena: &Arena, zone: &str, places: &[&str], up: &str) {
    let victim = arena.ctx.dir.join("victim");
    let root = arena.dataset(zone).join("upper");
    if arena.ctx.state(zone) == "running" {
        arena.ctx.ok(&["halt", zone]);
    }
    fs::create_dir_all(root.join(victim.strip_prefix("/").unwrap())).unwrap();
    let kept: Vec<_> = places.iter().map(|place| keep(&root.join(place))).collect();
    for place in places {
        symlink(format!("{up}{}", victim.display()), root.join(place)).unwrap();
    }
    // Whether it boots is its own affair: that nothing comes of it outside is the host's.
    let booted = arena.ctx.zonectl(&["boot", zone]);
    println!("links at {places:?}: boot {}, {}", booted.code, booted.stderr.trim());
    assert!(!booted.stderr.contains("panicked"), "{}", booted.stderr);
    assert_eq!(
        fs::read_dir(&victim).unwrap().count(),
        0,
        "{places:?}: something was made where the links lead"
    );
    if booted.code == 0 {
        arena.ctx.ok(&["halt", zone]);
    }
    for (place, kept) in places.iter().zip(kept) {
        fs::remove_file(root.join(place)).unwrap();
        if let Some(kept) = kept {
            fs::rename(kept, root.join(place)).unwrap();
        }
    }
}

/// Puts aside what the zone has at a place, if it has its own there.
fn keep(place: &Path) -> Option<PathBuf> {
    place.symlink_metadata().ok()?;
    let aside = place.with_extension("aside");
    fs::rename(place, &aside).unwrap();
    Some(aside)
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
