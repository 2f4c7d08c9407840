//! Roots from folders, and from the host's own userland.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

use uuid::Uuid;
use zoned_api::config::Image;

use crate::ground::Ground;

#[test]
fn a_folder_is_installed_as_it_is_and_shared_while_it_is_the_same() {
    let Some(ground) = Ground::new() else { return };
    let from = ground.path("from");
    fs::create_dir_all(from.join("etc")).unwrap();
    fs::write(from.join("etc/os-release"), "PRETTY_NAME=Folder\n").unwrap();
    symlink("/etc/shadow", from.join("link")).unwrap();
    fs::hard_link(from.join("etc/os-release"), from.join("hard")).unwrap();
    let image = Some(Image::Dir(from.to_str().unwrap().into()));
    let zones = [Uuid::new_v4(), Uuid::new_v4()];
    let installed = zones.map(|zone| ground.install(zone, image.clone()).unwrap());
    assert_eq!(installed[0], installed[1]);
    assert_eq!(installed[0].os.as_deref(), Some("Folder"));
    let root = &ground.images.lowers(zones[0]).unwrap()[0];
    assert_eq!(root.join("link").read_link().unwrap(), Path::new("/etc/shadow"));
    assert_eq!(fs::metadata(root.join("hard")).unwrap().nlink(), 2);
    ground.assert_clean(&zones, 1);
}

#[test]
fn a_sparse_root_is_shared_and_shows_the_hosts_programs() {
    let Some(ground) = Ground::new() else { return };
    let zones = [Uuid::new_v4(), Uuid::new_v4()];
    let [one, two] = zones.map(|zone| ground.install(zone, None).unwrap());
    assert_eq!(one, two);
    let host = fs::read_to_string("/usr/lib/os-release").unwrap();
    assert!(one.os.is_some_and(|os| host.contains(&os)));
    let view = ground.images.view(zones[0], true).unwrap();
    assert!(view.read("/bin/sh", 4).unwrap() == *b"\x7fELF");
    ground.assert_clean(&zones, 1);
}
