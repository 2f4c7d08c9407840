//! A root with Debian's nginx and PostgreSQL, and with the programs that put a load on them: made as an administrator
//! makes one whose zones have no way out. apt downloads here what the zone's own dpkg says it lacks, `zonectl cp` takes
//! it in, and the zone's apt installs it. The result is kept among the downloads of earlier runs.

use std::{
    env,
    ffi::OsStr,
    fs::{self, DirBuilder},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use zone_tests::{TestCtx, run};

const PACKAGES: [&str; 3] = ["nginx", "postgresql-15", "apache2-utils"];

/// The page that is served: so many numbers, one a line.
const LINES: u32 = 3000;

/// Name and password of a user of the database.
pub const BENCH: &str = "bench";

/// Inside the zone. No service runs meanwhile but the database, for the user to be made.
const INSTALL: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
printf 'exit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q install --yes --no-install-recommends /var/tmp/packages/*.deb
rm -r /usr/sbin/policy-rc.d /var/tmp/packages

seq LINES > /var/www/html/page
printf 'add_header X-Zone $hostname;\n' > /etc/nginx/conf.d/zone.conf

pg_conftool 15 main set listen_addresses '*'
echo 'host BENCH BENCH all scram-sha-256' >> /etc/postgresql/15/main/pg_hba.conf
pg_ctlcluster 15 main start
su postgres -c "psql -v ON_ERROR_STOP=1 -c \"create role BENCH login password 'BENCH'\" -c 'create database BENCH owner BENCH'"
pg_ctlcluster 15 main stop

tar --create --file /var/tmp/root.tar --one-file-system --numeric-owner --exclude './var/tmp/*' --directory / .
"#;

/// What nginx serves as `/page`.
pub fn page() -> String {
    (1..=LINES).map(|n| format!("{n}\n")).collect()
}

/// The archive of that root; made if it is not there.
pub fn archive() -> PathBuf {
    let cache = env::var_os("ZONES_CACHE").expect("ZONES_CACHE: run this by `cargo xtask test network`");
    let script = INSTALL.replace("LINES", &LINES.to_string()).replace("BENCH", BENCH);
    let mut recipe = DefaultHasher::new();
    (PACKAGES, &script).hash(&mut recipe);
    let archive = Path::new(&cache).join(format!("servers-{:016x}.tar", recipe.finish()));
    if !archive.exists() {
        make(&script, &archive);
    }
    archive
}

fn make(script: &str, archive: &Path) {
    let ctx = TestCtx::new();
    ctx.boot("zone: made\nroot: { image: debian:bookworm }\nprocess: { init: none }");
    let packages = download(&ctx);
    ctx.ok(&["cp", packages.to_str().unwrap(), "made:/var/tmp/packages"]);
    ctx.sh("made", script).ok();
    // Not there before it is whole; two that make it do not meet.
    let cache = archive.parent().unwrap();
    let work = tempfile::Builder::new().prefix(".servers-").tempdir_in(cache).unwrap();
    let whole = work.path().join("root.tar");
    ctx.ok(&["cp", "made:/var/tmp/root.tar", whole.to_str().unwrap()]);
    // Those of earlier recipes.
    for old in cache.read_dir().unwrap().flatten().filter(|file| is_archive(&file.file_name())) {
        fs::remove_file(old.path()).unwrap();
    }
    fs::rename(whole, archive).unwrap();
    ctx.finish();
}

fn is_archive(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("servers-") && name.ends_with(".tar")
}

/// A folder with what the zone lacks for [`PACKAGES`], by its own sources and its own dpkg's word of what it has.
fn download(ctx: &TestCtx) -> PathBuf {
    let place = ctx.dir.join("apt");
    for folder in ["lists/partial", "archives/partial"] {
        DirBuilder::new().recursive(true).create(place.join(folder)).unwrap();
    }
    for file in ["/var/lib/dpkg/status", "/etc/apt/sources.list"] {
        ctx.ok(&["cp", &format!("made:{file}"), place.to_str().unwrap()]);
    }
    let at = |name: &str| place.join(name).display().to_string();
    let options = [
        ("Dir::State::status", at("status")),
        ("Dir::State::lists", at("lists")),
        ("Dir::Etc::sourcelist", at("sources.list")),
        ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
        ("Dir::Cache", at("")),
        // Its folder is root's alone.
        ("APT::Sandbox::User", "root".to_owned()),
    ];
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-q").args(options.iter().map(|(name, value)| format!("-o{name}={value}"))).args(arguments);
        run(apt).ok();
    };
    apt(&["update"]);
    apt(&[&["install", "--yes", "--no-install-recommends", "--download-only"], &PACKAGES[..]].concat());
    place.join("archives")
}
