//! Roots that cannot be installed or booted: the zone says why, and nothing is left of them.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use zone_tests::TestCtx;

/// A small root without an init.
fn root(ctx: &TestCtx) -> PathBuf {
    let root = ctx.dir.join("root");
    for folder in ["etc", "usr/bin", "dev", "proc", "sys", "run", "tmp", "root"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("etc/os-release"), "ID=tiny\nPRETTY_NAME=\"Tiny \\x1b[31m\"\n").unwrap();
    fs::write(root.join("usr/bin/data"), vec![7; 300_000]).unwrap();
    root
}

/// An archive of a root, compressed by the host's tar.
fn archive(ctx: &TestCtx, root: &Path, name: &str, option: &[&str]) -> PathBuf {
    let path = ctx.dir.join(name);
    let mut tar = Command::new("tar");
    tar.args(option).arg("-cf").arg(&path).arg("-C").arg(root).arg(".");
    assert!(tar.status().unwrap().success(), "tar {option:?}");
    path
}

/// Installing an image fails: the zone is in this state, says why, and is as new after an uninstall.
#[track_caller]
fn refused(ctx: &TestCtx, image: &str, says: &str, state: &str) {
    ctx.create(&format!("zone: z\nroot: {{ image: '{image}' }}")).ok();
    let said = ctx.zonectl(&["install", "z"]).refuses(1, says);
    assert!(said.contains("  try: "), "no hint: {said}");
    let info = ctx.info("z");
    assert_eq!(info["state"], state, "{image}");
    assert!(info["reason"].as_str().unwrap().contains(says), "{info}");
    ctx.zonectl(&["boot", "z"]).refuses(1, &format!("cannot boot while it is {state}"));
    if state == "incomplete" {
        ctx.zonectl(&["delete", "--force", "z"]).refuses(1, "cannot delete while it is incomplete");
        ctx.ok(&["uninstall", "--force", "z"]);
    }
    ctx.ok(&["delete", "--force", "z"]);
    let left: Vec<_> = ["layers", "datasets", "zones"]
        .iter()
        .flat_map(|folder| fs::read_dir(ctx.dir.join("lib").join(folder)).unwrap().flatten())
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{image} left {left:?}");
    assert_eq!(ctx.ok(&["audit"]), "nothing is left over\n");
}

#[test]
fn an_image_that_is_not_there_or_of_the_wrong_kind() {
    let ctx = TestCtx::new();
    let file = ctx.dir.join("file");
    fs::write(&file, "this is no archive, whatever its name says\n".repeat(100)).unwrap();
    let (dir, file) = (ctx.dir.to_str().unwrap(), file.to_str().unwrap());
    let fifo = format!("{dir}/fifo");
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (image, says) in [
        ("tar:/nonexistent/image.tar", "/nonexistent/image.tar"),
        ("dir:/nonexistent/folder", "/nonexistent/folder"),
        (&format!("tar:{dir}"), "an archive is a regular file"),
        // Nobody waits for somebody to write into it.
        (&format!("tar:{fifo}"), "an archive is a regular file"),
        ("tar:/dev/zero", "an archive is a regular file"),
        (&format!("dir:{file}"), "is no folder"),
        ("dir:/", "is the root of this host"),
    ] {
        refused(&ctx, image, says, "configured");
    }
    // Only the unpacking shows what it is.
    refused(&ctx, &format!("tar:{file}"), file, "incomplete");
    ctx.finish();
}

#[test]
fn a_truncated_archive_of_every_compression() {
    let ctx = TestCtx::new();
    let root = root(&ctx);
    // What does not compress, so that a half is a half.
    let mut noise = File::create(root.join("usr/bin/noise")).unwrap();
    let mut x = 1_u64;
    for _ in 0..100_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        noise.write_all(&x.to_le_bytes()).unwrap();
    }
    for (name, option) in
        [("a.tar", &[][..]), ("a.tar.gz", &["--gzip"]), ("a.tar.xz", &["--xz"]), ("a.tar.zst", &["--zstd"])]
    {
        let whole = archive(&ctx, &root, name, option);
        let bytes = fs::read(&whole).unwrap();
        for part in [bytes.len() / 2, bytes.len() - bytes.len() / 10, 700] {
            let path = ctx.dir.join(format!("cut-{part}-{name}"));
            fs::write(&path, &bytes[..part]).unwrap();
            refused(&ctx, &format!("tar:{}", path.display()), path.to_str().unwrap(), "incomplete");
        }
        let empty = ctx.dir.join(format!("empty-{name}"));
        File::create(&empty).unwrap();
        refused(&ctx, &format!("tar:{}", empty.display()), empty.to_str().unwrap(), "incomplete");
        // The whole one is taken.
        ctx.create(&format!("zone: whole\nroot: {{ image: 'tar:{}' }}", whole.display())).ok();
        ctx.ok(&["install", "whole"]);
        assert!(!ctx.info("whole")["os"].as_str().unwrap().contains('\x1b'));
        ctx.ok(&["uninstall", "--force", "whole"]);
        ctx.ok(&["delete", "--force", "whole"]);
    }
    ctx.finish();
}

#[test]
fn a_root_without_an_init_says_so_when_it_is_booted() {
    let ctx = TestCtx::new();
    let root = root(&ctx);
    ctx.create(&format!("zone: z\nroot: {{ image: 'dir:{}' }}", root.display())).ok();
    let hint = "`zonectl set z process.init=none` gives it the built-in init";
    let said = ctx.ok(&["install", "z"]);
    assert!(said.contains("init /sbin/init: the root has none") && said.contains(hint), "{said}");
    for verb in ["boot", "boot"] {
        let said = ctx.zonectl(&[verb, "z"]).refuses(1, "/sbin/init");
        assert!(said.contains(hint), "{said}");
        let info = ctx.info("z");
        assert_eq!(info["state"], "installed", "{info}");
        assert!(info["reason"].to_string().contains("/sbin/init"), "{info}");
        assert_eq!(ctx.ok(&["audit"]), "nothing is left over\n");
    }
    // The built-in one needs nothing of the root.
    ctx.ok(&["set", "z", "process.init=none"]);
    ctx.ok(&["boot", "z"]);
    ctx.zonectl(&["exec", "z", "true"]).refuses(127, "true");
    ctx.zonectl(&["login", "z"]).fails(127, "");
    ctx.finish();
}

#[test]
fn install_from_replaces_the_configured_image() {
    let ctx = TestCtx::new();
    let root = root(&ctx);
    ctx.create("zone: z\nroot: { image: 'tar:/nonexistent' }").ok();
    let from = format!("dir:{}", root.display());
    ctx.ok(&["install", "z", "--from", &from]);
    assert_eq!(ctx.info("z")["config"]["root"]["image"], from);
    ctx.zonectl(&["install", "z", "--from", "oci:x"]).fails(1, "");
    ctx.finish();
}
