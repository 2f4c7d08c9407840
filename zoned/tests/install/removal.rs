//! What is taken away again, whatever became of it.

use std::{fs, os::unix::fs::symlink, path::Path};

use rustix::fs::{Mode, OFlags};
use uuid::Uuid;
use zoned::image::Images;

use crate::ground::{Ground, archive};

#[test]
fn uninstall_takes_whatever_the_zone_has_made() {
    let Some(ground) = Ground::new() else { return };
    let zone = Uuid::new_v4();
    ground.install(zone, ground.tar("a.tar", &archive(1))).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let upper = ground.images.dataset(zone).path().join("upper");
    let mut here = rustix::fs::openat(rustix::fs::CWD, &upper, flags, Mode::empty()).unwrap();
    symlink("/etc", upper.join("link")).unwrap();
    for depth in 0..5000 {
        rustix::fs::mkdirat(&here, "deeper", Mode::RWXU).unwrap();
        let next = rustix::fs::openat(&here, "deeper", flags, Mode::empty()).unwrap();
        if depth % 100 == 0 {
            rustix::fs::mkdirat(&next, "closed", Mode::empty()).unwrap();
            rustix::fs::symlinkat("..", &next, "up").unwrap();
        }
        rustix::fs::fchmod(&here, Mode::empty()).unwrap();
        here = next;
    }
    drop(here);
    ground.images.uninstall(zone).unwrap();
    ground.assert_clean(&[], 0);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn what_a_dead_daemon_left_is_told_and_removed_by_the_next_one() {
    let Some(ground) = Ground::new() else { return };
    let staging = ground.path("state/layers/.staging-dead");
    fs::create_dir_all(staging.join("fs/etc")).unwrap();
    let left = ground.images.leftovers(&[]);
    assert_eq!((left.len(), &*left[0].kind), (1, "folder"));
    assert_eq!(left[0].object, staging.display().to_string());
    Images::new(&ground.path("state"), &ground.path("cache")).unwrap();
    ground.assert_clean(&[], 0);
}
