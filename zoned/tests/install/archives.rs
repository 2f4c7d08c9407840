//! Roots from tar archives, honest and not.

use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    sync::atomic::{AtomicBool, Ordering},
};

use uuid::Uuid;
use zoned::{
    fault::whole,
    image::{Cancel, ImageError, Step},
};

use crate::ground::{Ground, archive};

#[test]
fn a_tar_archive_becomes_a_layer_with_the_ids_it_has() {
    let Some(ground) = Ground::new() else { return };
    let zone = Uuid::new_v4();
    let installed = ground.install(zone, ground.tar("a.tar", &archive(3))).unwrap();
    assert_eq!(installed.os.as_deref(), Some("Test \\u{1b}[31mOS"));
    assert!(
        installed.describe.ends_with("a.tar, without 1 device nodes below /dev"),
        "{}",
        installed.describe
    );

    let [root] = &ground.images.lowers(zone).unwrap()[..] else { panic!("one layer") };
    let meta = |path: &str| root.join(path).symlink_metadata().unwrap();
    // On the disk ids are the userland's, although they were written with the zone's.
    assert_eq!((meta("sbin/su").uid(), meta("sbin/su").mode() & 0o7777), (0, 0o4755));
    assert_eq!((meta("home/file").uid(), meta("home/file").gid()), (65_535, 65_535));
    assert_eq!((meta("etc").uid(), meta("").uid(), meta("etc").mtime()), (0, 0, 1_000_000_000));
    assert!(root.join("dev/null").symlink_metadata().is_err());
    // Real set-uid files lie there: nobody but root comes near them.
    for folder in ["state/layers", "state/datasets"] {
        assert_eq!(fs::metadata(ground.path(folder)).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let dataset = ground.images.dataset(zone);
    assert!(dataset.path().join("upper").is_dir() && dataset.path().join("work").is_dir());

    assert!(matches!(ground.install(zone, None), Err(ImageError::Exists(_))));
    ground.assert_clean(&[zone], 1);
    ground.images.uninstall(zone).unwrap();
    ground.images.uninstall(zone).unwrap();
    assert!(matches!(ground.images.lowers(zone), Err(ImageError::NotInstalled(_))));
    ground.assert_clean(&[], 0);
}

#[test]
fn capabilities_of_files_belong_to_the_layers_own_root() {
    let Some(ground) = Ground::new() else { return };
    // cap_net_raw=ep, version 2.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_pax_extensions([("SCHILY.xattr.security.capability", &capability[..])]).unwrap();
    tar.append_data(&mut header, "ping", &b""[..]).unwrap();
    let zone = Uuid::new_v4();
    ground.install(zone, ground.tar("a.tar", &tar.into_inner().unwrap())).unwrap();
    let path = ground.images.lowers(zone).unwrap()[0].join("ping");
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&path, "security.capability", &mut value[..]).unwrap();
    // Whichever zone's range the layer's ids are shifted to later: with version 3 a root's id comes last.
    assert_eq!(value[4..12], capability[4..12]);
    assert!(value[20..length.max(20)].iter().all(|byte| *byte == 0), "{:?}", &value[..length]);
}

#[test]
fn zones_that_install_the_same_at_once_share_one_unpacking() {
    let Some(ground) = Ground::new() else { return };
    let image = ground.tar("a.tar", &archive(200));
    let zones: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
    std::thread::scope(|scope| {
        for zone in &zones {
            scope.spawn(|| ground.install(*zone, image.clone()).unwrap());
        }
    });
    let unpacked = |s: &&Step| s.what.ends_with("unpacking") && s.amount == Some((0, None));
    assert_eq!(ground.steps.lock().unwrap().iter().filter(unpacked).count(), 1);
    ground.assert_clean(&zones, 1);
    for (n, zone) in zones.iter().enumerate() {
        ground.images.uninstall(*zone).unwrap();
        ground.assert_clean(&zones[n + 1..], usize::from(n < 2));
    }
}

#[test]
fn a_hostile_or_broken_archive_leaves_nothing() {
    let Some(ground) = Ground::new() else { return };
    let mut evil = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../secret");
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    evil.append(&header, &b""[..]).unwrap();
    let honest = archive(3);
    for (bytes, says) in [
        (evil.into_inner().unwrap(), "../secret refused: its name contains .."),
        (honest[..honest.len() - 5000].to_vec(), "truncated"),
        (b"no archive at all".to_vec(), "not a tar archive"),
        (Vec::new(), "it is empty"),
    ] {
        let error = ground.install(Uuid::new_v4(), ground.tar("bad.tar", &bytes)).unwrap_err();
        assert!(whole(&error).contains(says), "{says}: {}", whole(&error));
        ground.assert_clean(&[], 0);
    }
}

#[test]
fn an_archive_that_changes_meanwhile_is_not_taken() {
    let Some(ground) = Ground::new() else { return };
    let image = ground.tar("a.tar", &archive(100));
    let path = ground.path("a.tar");
    let changed = AtomicBool::new(false);
    let result = ground.install_until(Uuid::new_v4(), image, &Cancel::default(), |step| {
        // Its digest is known by then.
        if step.what.ends_with("unpacking") && !changed.swap(true, Ordering::SeqCst) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"x", 5 << 20).unwrap();
        }
    });
    assert!(matches!(result, Err(ImageError::Changed(_))), "{result:?}");
    ground.assert_clean(&[], 0);
}
