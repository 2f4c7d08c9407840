//! A Debian suite, bootstrapped by mmdebstrap into `<cache>/debian-<suite>-<arch>.tar` and used from there
//! until somebody removes it.
//!
//! The mirror, and how it is reached, is what this host's own apt is configured for; signatures are checked
//! against Debian's own keys. Packages are as trusted as on the host: their scripts run as root, though in
//! mount, pid, ipc and uts namespaces of mmdebstrap's making.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use brands::text::escape;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::Request;
use crate::{
    image::{Cancel, ImageError, StateIo, Step, child::lines, lock::FileLock, temp},
    store::atomic::sync_folder,
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What a zone's userland needs beyond the essential packages and apt: an init, its bus, and tools to look around.
const PACKAGES: &str = "systemd-sysv,dbus,procps,iproute2";

/// Left out while the image is made, so that it stays small; licences stay.
const LEFT_OUT: [&str; 5] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
];

/// Not into the image: neither how this host reaches its mirror, nor that documentation is left out, is meant
/// for what the zone installs later; and mmdebstrap copies the host's own name and resolver, which a zone under
/// systemd would take for its own.
const FORGET: &str = r#"cd "$1" && rm -f etc/apt/apt.conf.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/99mmdebstrap etc/hostname etc/resolv.conf"#;

/// Settings of the host's apt that say how a mirror is reached, and how its files are judged by their date.
const REACH: [&str; 6] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-",
    "Acquire::Max-",
    "Acquire::Retries",
    "Acquire::ForceIP",
];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Time mmdebstrap has to clean up after itself.
const GRACE: Duration = Duration::from_secs(5);

/// The archive of a suite, made if it is not in the cache.
pub(super) fn archive(suite: &str, request: &Request<'_>) -> Result<PathBuf, ImageError> {
    let cache = request.cache;
    DirBuilder::new().recursive(true).mode(0o755).create(cache).doing("make", cache)?;
    let name = format!("debian-{suite}-{}", architecture(suite)?);
    let path = cache.join(format!("{name}.tar"));
    let lock = cache.join(format!(".lock-{name}"));
    let waiting =
        || (request.progress)(Step::new(format!("debian:{suite}: another install makes it; waiting")));
    let lock = FileLock::acquire(&lock, request.cancel, waiting).doing("lock", &lock)?;
    let Some(_lock) = lock else { return Err(ImageError::Cancelled) };
    if !path.exists() {
        let prefix = format!(".bootstrap-{name}-");
        temp::sweep(cache, &prefix);
        let work = temp::TempFolder::new(cache, &prefix).doing("make a folder in", cache)?;
        let made = work.path().join("image.tar");
        bootstrap(suite, &work.path(), &made, request)?;
        File::open(&made).and_then(|file| file.sync_all()).doing("write to disk", &made)?;
        std::fs::rename(&made, &path).doing("make", &path)?;
        sync_folder(cache).doing("write to disk", cache)?;
    }
    Ok(path)
}

/// Prefix of folders in the cache that are being worked in.
pub(in crate::image) const WORKING: &str = ".bootstrap-";

fn bootstrap(suite: &str, work: &Path, into: &Path, request: &Request<'_>) -> Result<(), ImageError> {
    let missing =
        |what: &str, package| Err(ImageError::Missing { suite: suite.into(), what: what.into(), package });
    if !PATH.split(':').any(|folder| Path::new(folder).join("mmdebstrap").exists()) {
        return missing("mmdebstrap", "mmdebstrap");
    }
    if !Path::new(KEYRING).exists() {
        return missing("the archive's key ring", "debian-archive-keyring");
    }
    let mirror = Mirror::of(suite, &indexes(suite)?).ok_or(ImageError::NoMirror { suite: suite.into() })?;
    let command = command(suite, work, into, &mirror, &reach(suite)?);
    let mut said = Said::default();
    let tell = |text: &str| (request.progress)(Step::new(format!("debian:{suite}: {}", escape(text))));
    let done = run(command, request.cancel, |line| {
        if let Some(text) = said.add(line) {
            tell(text);
        }
    });
    let done = done.map_err(|e| ImageError::Bootstrap { suite: suite.into(), said: e.to_string() })?;
    request.cancel.check()?;
    match (done, said.no_suite) {
        (true, _) => Ok(()),
        (false, true) => Err(ImageError::NoSuite { suite: suite.into(), mirror: mirror.shown() }),
        (false, false) => Err(ImageError::Bootstrap { suite: suite.into(), said: said.last.join("; ") }),
    }
}

fn command(suite: &str, work: &Path, into: &Path, mirror: &Mirror, reach: &[String]) -> Command {
    // PR_SET_PDEATHSIG stays over exec: when the daemon dies, mmdebstrap is told to clean up.
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "TERM",
        "mmdebstrap",
        "--mode=unshare",
        "--variant=minbase",
        "--format=tar",
    ]);
    command.arg(format!("--include={PACKAGES}")).arg(format!("--keyring={KEYRING}"));
    command.args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")));
    command.args(reach.iter().map(|option| format!("--aptopt={option}")));
    command.arg(format!("--customize-hook={FORGET}"));
    command.arg(suite).arg(into).args(&mirror.lines);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("TMPDIR", work);
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs a command, line by line of its stderr; whether it succeeded. All of its process group is killed when
/// that is asked for.
fn run(mut command: Command, cancel: &Cancel, mut line: impl FnMut(&str)) -> io::Result<bool> {
    let mut child = command.spawn()?;
    let errors = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let group = Pid::from_raw(child.id() as i32);
    let mut since: Option<Instant> = None;
    // The child is not reaped before this is over, so its id cannot be somebody else's yet.
    let glance = || match since {
        None if cancel.is_cancelled() => {
            since = Some(Instant::now());
            let _ = killpg(group, Signal::SIGTERM);
        }
        Some(since) if since.elapsed() > GRACE => {
            let _ = killpg(group, Signal::SIGKILL);
        }
        _ => {}
    };
    let read = lines(errors, glance, |bytes| line(String::from_utf8_lossy(bytes).trim_end()));
    if read.is_err() {
        killpg(group, Signal::SIGKILL)?;
    }
    Ok(child.wait()?.success())
}

/// What mmdebstrap said.
#[derive(Default)]
struct Said {
    /// The last lines that are no mere information.
    last: Vec<String>,
    /// The archive does not have the suite.
    no_suite: bool,
}

impl Said {
    /// Takes a line; returns what in it is a step: not what mmdebstrap found, or how it ends.
    fn add<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        self.no_suite |= line.contains("does not have a Release file");
        if let Some(text) = line.strip_prefix("I: ") {
            let step =
                text.strip_suffix("...").filter(|_| !text.contains("tempdir") && !text.contains("signal "));
            return step.filter(|step| !step.contains("signed-by"));
        }
        if !line.trim().is_empty() {
            self.last.push(line.trim().to_owned());
            let over = self.last.len().saturating_sub(4);
            self.last.drain(..over);
        }
        None
    }
}

/// Where a suite is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    /// Lines as of sources.list(5).
    lines: Vec<String>,
    uri: String,
}

impl Mirror {
    /// By the index files of the host's apt, one a line: origin, label, URI, release.
    ///
    /// The suite itself comes from where the host has it, or else from where the host has any suite of Debian's;
    /// its updates and security fixes from where the host has them, if it does.
    fn of(suite: &str, indexes: &str) -> Option<Self> {
        let rows = indexes.lines().filter_map(|line| {
            let mut fields = line.split('|');
            let row = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (row.0 == "Debian").then_some(row)
        });
        let rows: Vec<_> = rows.collect();
        let plain =
            || rows.iter().filter(|(_, label, _, release)| *label == "Debian" && !release.contains('-'));
        let main = plain().find(|row| row.3 == suite).or_else(|| plain().next())?;
        let mut lines = vec![format!("deb {} {suite} main", main.2)];
        for more in [format!("{suite}-updates"), format!("{suite}-security")] {
            if let Some(row) = rows.iter().find(|row| row.3 == more) {
                lines.push(format!("deb {} {more} main", row.2));
            }
        }
        Some(Mirror { lines, uri: main.2.to_owned() })
    }

    /// Its address without a user's name and password.
    fn shown(&self) -> String {
        match (self.uri.split_once("://"), self.uri.split_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
            _ => self.uri.clone(),
        }
    }
}

fn indexes(suite: &str) -> Result<String, ImageError> {
    let format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(RELEASE)";
    ask(suite, "apt-get", "apt", &["indextargets", "--format", format, "Created-By: Packages"])
}

/// How the host's apt reaches a mirror, as options.
fn reach(suite: &str) -> Result<Vec<String>, ImageError> {
    let dump = ask(suite, "apt-config", "apt", &["dump"])?;
    let wanted = dump.lines().filter(|line| REACH.iter().any(|name| line.starts_with(name)));
    Ok(wanted.map(|line| line.trim_end_matches(';').to_owned()).collect())
}

fn architecture(suite: &str) -> Result<String, ImageError> {
    Ok(ask(suite, "dpkg", "dpkg", &["--print-architecture"])?.trim().to_owned())
}

/// What a program of the host's prints.
fn ask(suite: &str, program: &str, package: &'static str, arguments: &[&str]) -> Result<String, ImageError> {
    let failed = |said: String| ImageError::Bootstrap { suite: suite.into(), said };
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", PATH).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let output = command.output().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            ImageError::Missing { suite: suite.into(), what: program.to_owned(), package }
        }
        _ => failed(format!("{program}: {e}")),
    })?;
    if !output.status.success() {
        return Err(failed(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "Somebody|Tools|https://tools.example/deb/|stable
Debian|Debian Backports|https://mirror.example/debian/|bookworm-backports
Debian|Debian|https://mirror.example/debian/|bookworm-updates
Debian|Debian|https://user:secret@mirror.example/debian/|bookworm
Debian|Debian-Security|https://mirror.example/debian-security/|bookworm-security
";

    #[test]
    fn the_mirror_is_the_hosts() {
        let of = |suite| Mirror::of(suite, HOST).unwrap();
        assert_eq!(
            of("bookworm").lines,
            [
                "deb https://user:secret@mirror.example/debian/ bookworm main",
                "deb https://mirror.example/debian/ bookworm-updates main",
                "deb https://mirror.example/debian-security/ bookworm-security main",
            ]
        );
        assert_eq!(of("trixie").lines, ["deb https://user:secret@mirror.example/debian/ trixie main"]);
        assert_eq!(of("trixie").shown(), "https://mirror.example/debian/");
        assert_eq!(Mirror::of("bookworm", "Somebody|Tools|https://tools.example/deb/|bookworm"), None);
        assert_eq!(Mirror::of("bookworm", ""), None);
    }

    #[test]
    fn an_unknown_suite_is_told_from_other_failures() {
        let mut said = Said::default();
        assert_eq!(said.add("I: main() received signal PIPE: waiting for setup..."), None);
        assert_eq!(said.add("I: running apt-get update..."), Some("running apt-get update"));
        for n in 0..9 {
            said.add(&format!("E: {n}"));
        }
        assert_eq!((said.last.len(), said.no_suite), (4, false));
        said.add("E: The repository 'https://x nosuch Release' does not have a Release file.");
        assert!(said.no_suite);
    }

    #[test]
    fn a_cancelled_command_is_killed_with_what_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >&2; sleep 1000 & sleep 1000"]).process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let cancel = Cancel::default();
        let begun = Instant::now();
        let mut group = None;
        let done = run(command, &cancel, |line| {
            group = line.parse().ok();
            cancel.cancel();
        });
        assert!(!done.unwrap());
        assert!(begun.elapsed() < Duration::from_secs(60));
        // Its stderr was read to the end, so all are dead; the orphan among them is init's to reap.
        let group = Pid::from_raw(group.unwrap());
        while killpg(group, None) != Err(nix::errno::Errno::ESRCH) {
            assert!(begun.elapsed() < Duration::from_secs(60), "something of group {group} lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
