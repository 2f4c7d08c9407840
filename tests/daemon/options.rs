//! What zoned is told in `zoned.yaml`.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use zone_tests::{TestCtx, run, wait};

/// The file, saying this.
fn told(ctx: &TestCtx, text: impl AsRef<[u8]>) -> PathBuf {
    let folder = ctx.dir.join("etc");
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&folder).unwrap();
    let path = folder.join("zoned.yaml");
    fs::write(&path, text).unwrap();
    allow(&path, 0o644);
    path
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What doctor found of a subject.
fn found(ctx: &TestCtx, subject: &str) -> String {
    let report = ctx.json(&["doctor"]);
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    let finding = all.iter().find(|f| f["subject"] == subject).unwrap_or_else(|| panic!("{report}"));
    finding["found"].as_str().unwrap_or_default().to_owned()
}

fn backend(ctx: &TestCtx) -> String {
    wait::until("a backend is chosen", || found(ctx, "CPU backend") != "none");
    found(ctx, "CPU backend")
}

#[test]
fn the_file_is_gone_by_and_the_command_line_wins_over_it() {
    let mut ctx = TestCtx::new();
    ctx.stop_daemon();
    let path = told(&ctx, "# of this site\ncpu-backend: [shares]\nzones-shares: 300\nlog: warn\n");
    ctx.start_daemon();
    let why = "shares; not fss: not permitted by cpu-backend; not deficit: not permitted by cpu-backend";
    assert_eq!(backend(&ctx), why);
    let global = found(&ctx, "shares of global");
    assert!(global.contains("all zones together have 300"), "{global}");
    // The tests' daemons are told what to log on their command line.
    let log = ctx.log();
    let read = log.lines().find(|line| line.contains("zoned.yaml: read")).unwrap_or_default();
    let both = ["says=\"cpu-backend, zones-shares\"", "overruled=\"log\""];
    assert!(both.iter().all(|part| read.contains(part)), "{log}");
    ctx.kill_daemon();
    ctx.options = ["--zones-shares", "200", "--cpu-backend", "deficit,shares"].map(str::to_owned).to_vec();
    ctx.start_daemon();
    assert_eq!(backend(&ctx), "deficit; not fss: not permitted by cpu-backend");
    let global = found(&ctx, "shares of global");
    assert!(global.contains("all zones together have 200"), "{global}");
    ctx.kill_daemon();
    ctx.options.clear();
    fs::remove_file(&path).unwrap();
    ctx.start_daemon();
    let global = found(&ctx, "shares of global");
    assert!(global.contains("all zones together have 100"), "{global}");
    ctx.finish();
}

#[test]
fn a_file_that_is_wrong_is_told_and_nothing_started() {
    let ctx = TestCtx::new();
    for (text, says) in [
        (
            "log: info\ncpu-backends: [fss]\n",
            ["line 2, column 1", "there is no key `cpu-backends`; there are "],
        ),
        (
            "cpu-backend: [fss, cfs]\n",
            ["line 1, column 20", "\"cfs\" is not accepted: write one of fss, deficit, shares"],
        ),
        ("cpu-backend: []\n", ["line 1", "the list is empty"]),
        ("zones-shares: 0\n", ["line 1, column 15", "write a whole number from 1 to 10000"]),
        ("zones-shares: many\n", ["line 1", "\"many\" is not accepted"]),
        ("\n\nbridge: [a, b]\n", ["line 3", "invalid type: sequence, expected NAME"]),
        ("bridge: true\n", ["line 1", "invalid type: boolean `true`, expected NAME"]),
        ("uplinks: [eth0, 'no/name']\n", ["uplinks[1]", "1 to 15 of a-z"]),
        ("network: 10.77.0.0/30\n", ["line 1", "the length must be from 8 to 29"]),
        ("state-dir: lib\n", ["line 1", "must be an absolute path"]),
        ("log: zoned=loud\n", ["line 1", "write levels like info"]),
        ("log: info\nlog: debug\n", ["line 2", "the key `log` stands there twice"]),
        ("config-dir: /elsewhere\n", ["line 1", "on the command line alone"]),
        ("log: a: b\n", ["line 1", "mapping values are not allowed"]),
    ] {
        let path = told(&ctx, text);
        let said = run(ctx.daemon_command()).fails(2, says[0]);
        assert!(said.starts_with(&format!("zoned: {}: ", path.display())), "{said}");
        assert!(said.contains(says[1]) && said.lines().count() == 1, "{text:?}: {said}");
    }
    // Whatever the command line says.
    told(&ctx, "zones-shares: 0\n");
    let mut command = ctx.daemon_command();
    command.args(["--zones-shares", "5"]);
    run(command).fails(2, "zones-shares: \"0\" is not accepted");
    ctx.finish();
}

#[test]
fn a_file_that_is_not_roots_alone_is_not_read() {
    let ctx = TestCtx::new();
    let path = told(&ctx, "zones-shares: 200\n");
    let refused = |says: &str| run(ctx.daemon_command()).fails(2, says);
    for mode in [0o664, 0o646] {
        allow(&path, mode);
        refused(&format!("zoned.yaml: others than root may write it (owner 0, mode {mode:04o})"));
    }
    allow(&path, 0o600);
    chown(&path, Some(1000), None).unwrap();
    refused("(owner 1000, mode 0600)");
    chown(&path, Some(0), None).unwrap();
    allow(&ctx.dir.join("etc"), 0o777);
    refused("etc: others than root may write it (owner 0, mode 0777)");
    allow(&ctx.dir.join("etc"), 0o755);
    // It is another zoned's place, no more.
    run(ctx.daemon_command()).fails(1, "another zoned works there already");
    told(&ctx, b"log: \xff\n");
    refused("zoned.yaml: cannot be read: ");
    fs::remove_file(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    refused("zoned.yaml: cannot be read: No such file");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("zoned.yaml: is no plain file");
    fs::remove_dir(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("zoned.yaml: is no plain file");
    fs::remove_file(&path).unwrap();
    ctx.finish();
}
