//! Archives that try to get out, to take more than they may, or to hide that a part of them is missing.

use std::io::Write;

use super::*;

#[test]
fn names_that_lead_out_are_refused() {
    for (name, why) in [
        ("../secret", Refusal::DotDot),
        ("a/../../secret", Refusal::DotDot),
        ("a/..", Refusal::DotDot),
        ("..", Refusal::DotDot),
        ("/secret", Refusal::Absolute),
        ("//secret", Refusal::Absolute),
    ] {
        for kind in [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Fifo] {
            let archive = Maker::default().folder("a").entry(kind, name, "x", b"").end();
            assert_eq!(refusal(Ground::new().unpack(&archive)), why, "{name} {kind:?}");
        }
        let long = Maker::default().pax(&[("path", name.as_bytes())]).file("plain", b"x").end();
        assert_eq!(refusal(Ground::new().unpack(&long)), why, "{name} by pax");
        let long =
            Maker::default().entry(EntryType::GNULongName, "x", "", name.as_bytes()).file("plain", b"x");
        assert_eq!(refusal(Ground::new().unpack(&long.end())), why, "{name} by GNU");
    }
}

#[test]
fn names_that_are_none_are_refused() {
    let nul = Maker::default().pax(&[("path", b"a\0b")]).file("x", b"").end();
    assert_eq!(refusal(Ground::new().unpack(&nul)), Refusal::BadName);
    assert_eq!(refusal(Ground::new().unpack(&Maker::default().file(".", b"x").end())), Refusal::BadName);
    for long in ["x".repeat(256), "x/".repeat(2100)] {
        let archive = Maker::default().pax(&[("path", long.as_bytes())]).file("x", b"").end();
        assert_eq!(refusal(Ground::new().unpack(&archive)), Refusal::TooLong);
    }
}

#[test]
fn nothing_is_written_through_a_symbolic_link() {
    for target in ["..", "/", "../../../../../../..", ".", "real"] {
        for last in [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Fifo] {
            let ground = Ground::new();
            let archive =
                Maker::default().folder("real").symlink("way", target).entry(last, "way/new", "x", b"").end();
            assert_eq!(refusal(ground.unpack(&archive)), Refusal::ThroughSymlink, "{target} {last:?}");
            assert!(!ground.exists("real/new"), "not even where it would have stayed inside");
        }
    }
    // Deeper, where the missing folders after the link would have to be made.
    let archive = Maker::default().symlink("a", "..").file("a/b/c/d", b"x").end();
    assert_eq!(refusal(Ground::new().unpack(&archive)), Refusal::ThroughSymlink);
    let archive = Maker::default().file("a", b"no folder").file("a/b", b"x").end();
    assert_eq!(refusal(Ground::new().unpack(&archive)), Refusal::ThroughSymlink);
}

#[test]
fn a_link_put_there_before_is_not_followed_either() {
    let ground = Ground::new();
    std::os::unix::fs::symlink("../secret", ground.dir().join("file")).unwrap();
    std::os::unix::fs::symlink("..", ground.dir().join("way")).unwrap();
    ground.unpack(&Maker::default().file("file", b"new").end()).unwrap();
    assert_eq!(ground.read("file"), "new");
    assert_eq!(refusal(ground.unpack(&Maker::default().file("way/x", b"x").end())), Refusal::ThroughSymlink);
    let folder = Maker::default().folder("way").end();
    assert_eq!(refusal(ground.unpack(&folder)), Refusal::InTheWay("a symbolic link".into()));
}

#[test]
fn a_later_entry_replaces_a_link_and_does_not_follow_it() {
    let ground = Ground::new();
    let archive = Maker::default().symlink("x", "../secret").file("x", b"mine").end();
    ground.unpack(&archive).unwrap();
    assert_eq!(ground.read("x"), "mine");
    // The other way round: the file becomes a link, and the next file replaces that.
    let archive = Maker::default().file("y", b"1").symlink("y", "../secret").file("y", b"2").end();
    ground.unpack(&archive).unwrap();
    assert_eq!(ground.read("y"), "2");
}

#[test]
fn a_folder_that_becomes_a_link_is_refused() {
    let archive = Maker::default().folder("d").symlink("d", "..").file("d/x", b"").end();
    assert_eq!(refusal(Ground::new().unpack(&archive)), Refusal::InTheWay("a folder".into()));
}

#[test]
fn hard_links_lead_nowhere_else() {
    let outside = |to: &str| Refusal::LinkOutside(to.into());
    for (to, why) in [
        ("../secret", outside("../secret")),
        ("d/../../secret", outside("d/../../secret")),
        ("/secret", outside("/secret")),
        ("way/secret", outside("way/secret")),
        ("absent", Refusal::LinkMissing("absent".into())),
        ("d/absent", Refusal::LinkMissing("d/absent".into())),
        ("", outside("")),
        ("d", Refusal::InTheWay("a folder".into())),
    ] {
        let archive = Maker::default().folder("d").symlink("way", "..").link("new", to).end();
        assert_eq!(refusal(Ground::new().unpack(&archive)), why, "{to}");
    }
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_that_link_and_is_not_followed() {
    let ground = Ground::new();
    let archive = Maker::default().symlink("s", "../secret").link("h", "s").file("h", b"mine").end();
    ground.unpack(&archive).unwrap();
    assert_eq!(ground.read("h"), "mine");
    assert!(ground.dir().join("s").is_symlink());
}

#[test]
fn a_hard_link_to_itself_loses_nothing() {
    let ground = Ground::new();
    ground
        .unpack(&Maker::default().file("a", b"kept").link("a", "a").link("b", "a").link("a", "b").end())
        .unwrap();
    assert_eq!((ground.read("a"), ground.read("b")), ("kept".into(), "kept".into()));
}

#[test]
fn device_nodes_are_refused_except_below_dev_where_they_are_left_out() {
    for kind in [EntryType::Char, EntryType::Block] {
        let ground = Ground::new();
        let archive =
            Maker::default().folder("dev").entry(kind, "./dev/null", "", b"").file("after", b"x").end();
        let summary = ground.unpack(&archive).unwrap();
        assert_eq!(summary.devices_skipped, 1);
        assert!(!ground.exists("dev/null") && ground.exists("after"));
        for name in ["null", "devil/null", "x/dev/null"] {
            let archive = Maker::default().entry(kind, name, "", b"").end();
            assert_eq!(refusal(Ground::new().unpack(&archive)), Refusal::Device);
        }
    }
}

#[test]
fn unknown_kinds_are_refused() {
    let archive = Maker::default().entry(EntryType::new(b'M'), "x", "", b"data").end();
    assert_eq!(refusal(Ground::new().unpack(&archive)), Refusal::Kind(b'M'));
}

#[test]
fn owners_beyond_a_zone_are_refused() {
    if without_root("keeping owners") {
        return;
    }
    let owned = |uid, gid| {
        let set = |h: &mut Header| {
            h.set_uid(uid);
            h.set_gid(gid);
        };
        Maker::default().with(EntryType::Regular, "x", "", b"", set).end()
    };
    Ground::new().unpack(&owned(65_535, 65_535)).unwrap();
    assert_eq!(refusal(Ground::new().unpack(&owned(65_536, 0))), Refusal::Owner(65_536));
    assert_eq!(refusal(Ground::new().unpack(&owned(0, u64::MAX >> 8))), Refusal::Owner(u64::MAX >> 8));
    let by_pax = Maker::default().pax(&[("uid", b"4294967296")]).file("x", b"").end();
    assert_eq!(refusal(Ground::new().unpack(&by_pax)), Refusal::Owner(1 << 32));
}

#[test]
fn a_size_beyond_the_limit_is_refused_before_a_byte_is_written() {
    let limit = Rules { bytes: 1 << 20, ..rules() };
    let too_large = |of: &str, limit| ArchiveError::TooLarge { of: of.into(), limit };
    for size in [(1 << 20) + 1, 1 << 40, u64::MAX - 1024, u64::MAX] {
        let ground = Ground::new();
        let archive = Maker::default().with(EntryType::Regular, "x", "", b"", |h| h.set_size(size)).end();
        let error = ground.unpack_by(&archive, &limit).unwrap_err();
        let overflow =
            matches!(&error, ArchiveError::Damaged { source, .. } if source.0.contains("beyond all"));
        assert!(overflow || error == too_large("bytes", 1 << 20), "{error}");
        assert!(!ground.exists("x"));
    }
    let sum = Maker::default().file("a", &[1; 600 << 10]).file("b", &[1; 600 << 10]).end();
    assert_eq!(Ground::new().unpack_by(&sum, &limit), Err(too_large("bytes", 1 << 20)));
    // A hole takes no space, but a file of 8 EiB is no file anybody wants.
    let sparse = Maker::default().with(EntryType::GNUSparse, "x", "", b"", |h| {
        h.as_gnu_mut().unwrap().set_real_size(1 << 62);
    });
    assert_eq!(Ground::new().unpack_by(&sparse.end(), &limit), Err(too_large("bytes", 1 << 20)));
}

#[test]
fn a_bomb_of_300_000_entries_stops_at_the_limit() {
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    for n in 0..300_000 {
        let one = Maker::default().entry(EntryType::Directory, &format!("{n}"), "", b"");
        packed.write_all(&one.0).unwrap();
    }
    let archive = packed.finish().unwrap();
    let ground = Ground::new();
    let limit = Rules { entries: 2_000, ..rules() };
    let error = ground.unpack_by(&archive, &limit).unwrap_err();
    assert_eq!(error, ArchiveError::TooLarge { of: "entries".into(), limit: 2_000 });
    assert_eq!(fs::read_dir(ground.dir()).unwrap().count(), 2_000);
}

#[test]
fn headers_cannot_take_memory_without_bound() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader]
    {
        let archive = Maker::default().with(kind, "x", "", b"", |h| h.set_size(1 << 40)).end();
        let error = Ground::new().unpack(&archive).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    }
    let names = (0..100).fold(Maker::default(), |m, n| m.folder(&format!("a folder with a name, {n}"))).end();
    let error = Ground::new().unpack_by(&names, &Rules { names: 1000, ..rules() }).unwrap_err();
    assert_eq!(error, ArchiveError::TooLarge { of: "bytes of folder names".into(), limit: 1000 });
}

fn packed(plain: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(plain).unwrap();
    [
        ("plain", plain.to_vec()),
        ("gzip", gzip.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
        ("zstd", zstd::encode_all(plain, 1).unwrap()),
    ]
}

#[test]
fn a_truncated_archive_says_so_wherever_it_is_cut() {
    let noise: Vec<u8> = (0..40_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let whole =
        Maker::default().file("a", &noise[..5000]).folder("d").file("d/b", &noise).file("c", b"x").end();
    for (form, bytes) in packed(&whole) {
        Ground::new().unpack(&bytes).unwrap_or_else(|e| panic!("{form}: {e}"));
        // The last 1024 bytes of the plain form are its end mark, of which one block is enough.
        let shortest = if form == "plain" { 1024 } else { 1 };
        for cut in [bytes.len() / 7, bytes.len() / 2, bytes.len() - 3000, bytes.len() - shortest] {
            let error = Ground::new().unpack(&bytes[..cut]).unwrap_err();
            assert!(matches!(error, ArchiveError::Truncated { .. }), "{form} cut at {cut}: {error:?}");
        }
    }
    // Between two entries, where nothing but the end mark is missing.
    let error = Ground::new().unpack(&Maker::default().file("a", b"x").0).unwrap_err();
    assert_eq!(error, ArchiveError::Truncated { entries: 1 });
}

#[test]
fn a_damaged_archive_says_so() {
    let whole = Maker::default().file("a", b"x").file("b", b"y").end();
    let mut sum = whole.clone();
    sum[1024 + 10] ^= 1;
    let error = Ground::new().unpack(&sum).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { entries: 1, .. }), "{error:?}");
    for (form, mut bytes) in packed(&whole).into_iter().skip(1) {
        let at = bytes.len() / 2;
        bytes[at] ^= 0xff;
        let error = Ground::new().unpack(&bytes).unwrap_err();
        let known = matches!(
            error,
            ArchiveError::Damaged { .. } | ArchiveError::NotAnArchive(_) | ArchiveError::Truncated { .. }
        );
        assert!(known, "{form}: {error:?}");
    }
}

#[test]
fn what_is_no_archive_is_told_from_a_damaged_one() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"#!/bin/sh\necho hello\n", "shorter"),
        (&[b'x'; 4096], "no tar header"),
        (b"BZh91AY&SY", "bzip2"),
        (b"PK\x03\x04and so on", "zip"),
        (&[0x1f, 0x8b, 8, 0], "truncated"),
    ] {
        let error = Ground::new().unpack(bytes).unwrap_err();
        assert!(whole(&error).contains(word), "{word}: {}", whole(&error));
    }
}

#[test]
fn names_in_errors_are_harmless_to_a_terminal() {
    let archive = Maker::default().pax(&[("path", b"\x1b[2Jx\xff\xe2\x80\xae/../y\nz")]).file("x", b"").end();
    let text = whole(&Ground::new().unpack(&archive).unwrap_err());
    assert!(text.contains("\\u{1b}[2Jx") && !text.chars().any(char::is_control), "{text:?}");
    assert!(!text.contains('\u{202e}'), "{text:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_it_panic_or_get_out(head: Vec<u8>, at in 0usize..3000, with: Vec<u8>) {
        let mut bytes = Maker::default().file("a", b"x").symlink("s", "..").pax(&[("path", b"s/x")]).file("b", b"y").end();
        let end = (at + with.len()).min(bytes.len());
        if at < end {
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        let _ = Ground::new().unpack(&bytes);
        let _ = Ground::new().unpack(&head);
    }
}
