//! `cp` into zones and out of them.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use zone_tests::{Outcome, TestCtx, run};

/// `zonectl cp`, with paths that may be no text.
fn cp(ctx: &TestCtx, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Outcome {
    let mut command = ctx.command(&["cp"]);
    command.arg(from).arg(to);
    run(command)
}

/// All that is below a folder: mode and content, or where it leads.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let holds = if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_vec()
            } else if meta.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), (meta.mode(), holds));
        }
    }
    found
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_keeps_content_mode_and_time_both_ways() {
    let ctx = TestCtx::new();
    ctx.boot("zone: c");
    let file = ctx.dir.join("file");
    let content: Vec<u8> = (0..=255).cycle().take(1_000_003).collect();
    fs::write(&file, &content).unwrap();
    mode(&file, 0o640);
    let day = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&file).unwrap().set_modified(day).unwrap();

    cp(&ctx, &file, "c:/root/").ok();
    cp(&ctx, &file, "c:/root/renamed").ok();
    for name in ["file", "renamed"] {
        let stat = ctx.ok(&["exec", "c", "--", "stat", "-c", "%a %u %g %s %Y", &format!("/root/{name}")]);
        assert_eq!(stat, "640 0 0 1000003 1000000000\n", "{name}");
    }
    let back = ctx.dir.join("back");
    cp(&ctx, "c:/root/renamed", &back).ok();
    let meta = fs::metadata(&back).unwrap();
    assert!(fs::read(&back).unwrap() == content);
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.mtime()), (0o640, 0, 1_000_000_000));
    // Over what is there, and nothing but it.
    fs::write(&file, "short").unwrap();
    cp(&ctx, &file, "c:/root/renamed").ok();
    assert_eq!(ctx.ok(&["exec", "c", "cat", "/root/renamed"]), "short");
    ctx.finish();
}

#[test]
fn a_folder_with_hostile_names_comes_back_as_it_went() {
    let ctx = TestCtx::new();
    ctx.boot("zone: c");
    let source = ctx.dir.join("source");
    fs::create_dir_all(source.join("deep/er/still")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    let names: [&[u8]; 12] = [
        b"plain",
        b"-rf",
        b"--help",
        b"two words",
        b"line\nfeed",
        b"*",
        b"$(id)",
        b"\xff\xfe",
        b"\x1b[31m",
        b"..x",
        "Zürich".as_bytes(),
        &[b'x'; 255],
    ];
    for name in names {
        fs::write(source.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(source.join("deep/er/still/here"), "down").unwrap();
    symlink("deep/er", source.join("inward")).unwrap();
    symlink("/etc/passwd", source.join("absolute")).unwrap();
    symlink("../../../../../../etc/shadow", source.join("upward")).unwrap();
    symlink("nowhere", source.join("dangling")).unwrap();
    mode(&source.join("deep"), 0o711);
    mode(&source.join("deep/er/still/here"), 0o400);
    mode(&source.join("plain"), 0o755);
    mode(&source.join("empty"), 0o1777);

    cp(&ctx, &source, "c:/root/").ok();
    let count = ctx.sh("c", "find /root/source -mindepth 1 -printf x | wc -c").ok();
    assert_eq!(count.trim().parse::<usize>().unwrap(), tree(&source).len());
    let back = ctx.dir.join("back");
    cp(&ctx, "c:/root/source", &back).ok();
    assert_eq!(tree(&back), tree(&source));
    // Into a folder that is there, under its own name.
    let into = ctx.dir.join("into");
    fs::create_dir(&into).unwrap();
    cp(&ctx, "c:/root/source", &into).ok();
    assert_eq!(tree(&into.join("source")), tree(&source));
    ctx.finish();
}

#[test]
fn links_in_a_zone_lead_nowhere_but_into_the_zone() {
    let ctx = TestCtx::new();
    ctx.boot("zone: c");
    let name = format!("{}-marker", ctx.cgroup);
    let file = ctx.dir.join(&name);
    fs::write(&file, "from the host").unwrap();
    let deep = "../".repeat(20);
    ctx.sh(
        "c",
        &format!("ln -s /etc /root/link; ln -s {deep}etc /root/up; echo of the zone > /etc/hostname"),
    )
    .ok();
    for link in ["link", "up"] {
        cp(&ctx, &file, format!("c:/root/{link}/")).ok();
        assert_eq!(ctx.ok(&["exec", "c", "cat", &format!("/etc/{name}")]), "from the host");
        ctx.ok(&["exec", "c", "rm", &format!("/etc/{name}")]);
        assert!(!Path::new("/etc").join(&name).exists(), "it went into the host's /etc");
        let out = ctx.dir.join(format!("out-{link}"));
        cp(&ctx, format!("c:/root/{link}/hostname"), &out).ok();
        assert_eq!(fs::read_to_string(&out).unwrap(), "of the zone\n");
    }
    cp(&ctx, format!("c:/{deep}etc/hostname"), ctx.dir.join("out")).ok();
    assert_eq!(fs::read_to_string(ctx.dir.join("out")).unwrap(), "of the zone\n");
    ctx.finish();
}

#[test]
fn set_id_bits_and_devices_do_not_come_along() {
    let ctx = TestCtx::new();
    ctx.boot("zone: c");
    ctx.sh("c", "mkdir /root/d; cp /bin/true /root/d/suid; chmod 6755 /root/d/suid; mkfifo /root/d/pipe")
        .ok();
    let out = ctx.dir.join("out");
    cp(&ctx, "c:/root/d", &out).ok();
    assert_eq!(fs::metadata(out.join("suid")).unwrap().mode() & 0o7777, 0o755);
    let suid = ctx.dir.join("suid");
    fs::copy("/bin/true", &suid).unwrap();
    mode(&suid, 0o4755);
    cp(&ctx, &suid, "c:/root/").ok();
    assert_eq!(ctx.ok(&["exec", "c", "stat", "-c", "%a", "/root/suid"]), "755\n");
    ctx.finish();
}

#[test]
fn what_cannot_be_copied_says_why_and_leaves_nothing() {
    let ctx = TestCtx::new();
    ctx.boot("zone: c");
    ctx.create("zone: off").ok();
    let file = ctx.dir.join("file");
    fs::write(&file, "x").unwrap();
    let (file, dir) = (file.to_str().unwrap(), ctx.dir.to_str().unwrap());
    ctx.ok(&["exec", "c", "touch", "/etc/hostname"]);
    let new = format!("{dir}/new");
    for (from, to, says) in [
        (&*format!("{dir}/missing"), "c:/root/", "missing"),
        (file, "c:/nonexistent/folder/", "/nonexistent/folder"),
        (file, "c:/nonexistent/folder/name", "/nonexistent/folder"),
        (file, "c:/usr/new", "/usr"),
        (file, "c:/proc/new", "/proc"),
        (file, "off:/root/", "cannot copy while it is configured"),
        (file, "nobody:/root/", "no such zone"),
        ("c:/root/missing", &new, "missing"),
        ("c:/root", "/nonexistent/folder/name", "/nonexistent/folder"),
        (file, &new, "neither side is in a zone"),
        ("c:/root/a", "c:/root/b", "both sides are in a zone"),
    ] {
        let mut command = ctx.command(&["cp"]);
        command.args([OsString::from(from), OsString::from(to)]);
        run(command).refuses(1, says);
        assert!(!Path::new(&new).exists(), "{from} {to}");
    }
    let new = ctx.ok(&["exec", "c", "find", "/root", "-newer", "/etc/hostname", "-type", "f"]);
    assert_eq!(new, "", "something was left");
    ctx.finish();
}
