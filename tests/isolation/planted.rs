//! What a zone leaves in its files for the host to stumble over.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use zone_tests::wait;

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

/// A zone that may write the folder above another entry's source decides what is found there at the next boot.
#[test]
fn a_link_in_place_of_a_shared_folder_shows_nothing_of_the_hosts() {
    let arena = Arena::new(&[]);
    let (secret, above) = (arena.ctx.dir.join("hidden"), arena.ctx.dir.join("above"));
    fs::create_dir_all(secret.join("deep")).unwrap();
    fs::create_dir_all(above.join("near/deep")).unwrap();
    for folder in [secret.clone(), secret.join("deep")] {
        fs::write(folder.join("secret"), "the host's\n").unwrap();
    }
    let call = brands::syscall::number("reboot", brands::syscall::HOST[0]).unwrap();
    let reboot = format!("perl -e 'syscall({call}, 0xfee1dead, 672274793, 0x01234567, 0)'");
    // The link is the last part of one source, and in the middle of the other's path.
    for (zone, nested) in [("last", "near"), ("middle", "near/deep")] {
        let source = above.join(nested);
        arena.ctx.boot(&format!(
            "zone: {zone}\nfs: [{{ source: {}, target: /srv/above }}, {{ source: {}, target: /srv/nested }}]",
            above.display(),
            source.display()
        ));
        let plant = format!(
            "touch /srv/nested/own && mv /srv/above/near /srv/above/kept && ln -s {} /srv/above/near",
            secret.display()
        );
        arena.ctx.sh(zone, &plant).ok();
        // Looked at beforehand, so that a zone that could not come back is not stopped; and by the boot itself, which
        // nobody can get in between.
        arena.ctx.zonectl(&["reboot", zone]).fails(1, "is a symbolic link");
        assert_eq!(arena.ctx.state(zone), "running");
        arena.ctx.ok(&["halt", zone]);
        arena.ctx.zonectl(&["boot", zone]).fails(1, "a symbolic link is in it");
        let info = arena.ctx.info(zone);
        assert_eq!(info["state"], "installed", "{info}");
        let reason = info["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(&source.display().to_string()), "it does not say which: {reason}");
        // By its own reboot(2) the zone comes no further.
        fs::rename(above.join("near"), above.join("link")).unwrap();
        fs::rename(above.join("kept"), above.join("near")).unwrap();
        arena.ctx.ok(&["boot", zone]);
        assert!(source.join("own").exists(), "the zone did not write where it may");
        let again = "mv /srv/above/near /srv/above/kept && mv /srv/above/link /srv/above/near";
        arena.ctx.sh(zone, again).ok();
        arena.ctx.sh(zone, &reboot);
        let refused =
            |info: &serde_json::Value| info["reason"].as_str().is_some_and(|r| r.contains("a symbolic link"));
        wait::until("its boot is refused", || refused(&arena.ctx.info(zone)));
        assert_eq!(arena.ctx.state(zone), "installed");
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 2, "something was made where the link leads");
        fs::remove_file(above.join("near")).unwrap();
        fs::rename(above.join("kept"), above.join("near")).unwrap();
    }
    arena.finish();
}
