//! An apt of our own, for suites that the machine itself does not follow.
//!
//! Its sources, lists and cache lie below `target/xtask/vm/apt`. Of the machine's apt it takes the mirrors and how they are
//! reached, and changes nothing there. apt checks what it fetches against Debian's key ring.

use super::folder;
use crate::progress;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where kernels come from: Debian 12's own 6.1 and 6.12, and the newest one.
const SUITES: [&str; 3] = ["bookworm", "bookworm-security", "trixie-backports"];

/// How long what a suite lists is taken for current.
const CURRENT: Duration = Duration::from_hours(24);

/// Settings of the machine's apt that say how a mirror is reached.
const REACH: [&str; 6] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-",
    "Acquire::Max-",
    "Acquire::Retries",
    "Acquire::ForceIP",
];

pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Sets it up and brings its lists up to date, if they are older than a day or `anew` says so.
    pub(super) fn open(anew: bool) -> Result<Self> {
        let apt = Self { folder: folder().join("apt") };
        for folder in ["state/lists/partial", "cache/archives/partial", "empty"] {
            fs::create_dir_all(apt.folder.join(folder)).context("cannot make a folder for apt")?;
        }
        let lists = sources(&SUITES)?;
        ensure!(lists.len() == SUITES.len(), "the machine's apt knows no mirror of Debian's security fixes");
        let changed =
            apt.write("sources.list", &lists.join("\n"))? | apt.write("apt.conf", &apt.settings()?)?;
        apt.write("state/status", "")?;
        if anew || changed || !apt.is_current() {
            let update = ["--quiet", "--error-on=any", "update"];
            let log = "vm-apt.log";
            progress::logged("reading what kernels Debian has", log, apt.command("apt-get").args(update))?;
            fs::write(apt.stamp(), "")?;
        }
        Ok(apt)
    }

    /// Names of packages that begin so.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(said(self.command("apt-cache").args(["pkgnames", prefix]))?.lines().map(str::to_owned).collect())
    }

    /// Fetches packages and unpacks them into a folder.
    pub(super) fn unpack(&self, packages: &[&str], into: &Path) -> Result<()> {
        let fetched = tempfile::tempdir_in(&self.folder).context("cannot make a folder for packages")?;
        let mut download = self.command("apt-get");
        download.args(["--quiet", "download"]).args(packages).current_dir(fetched.path());
        progress::logged(&format!("fetching {}", packages.join(" and ")), "vm-apt.log", &mut download)?;
        for package in fs::read_dir(fetched.path())?.flatten() {
            said(Command::new("dpkg-deb").arg("--extract").arg(package.path()).arg(into))?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    /// All but how mirrors are reached is our own: the machine's hooks, preferences and sources stay out.
    fn settings(&self) -> Result<String> {
        let own = [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::Etc::SourceParts", "empty"),
            ("Dir::Etc::Main", "empty/apt.conf"),
            ("Dir::Etc::Parts", "empty"),
            ("Dir::Etc::Preferences", "empty/preferences"),
            ("Dir::Etc::PreferencesParts", "empty"),
            ("Dir::State", "state"),
            ("Dir::State::Status", "state/status"),
            ("Dir::Cache", "cache"),
        ];
        let own = own.map(|(name, file)| format!("{name} \"{}\";", self.folder.join(file).display()));
        let fixed = ["Acquire::Languages \"none\";".to_owned(), "APT::Sandbox::User \"root\";".to_owned()];
        Ok(own.into_iter().chain(fixed).chain(reach()?).collect::<Vec<_>>().join("\n"))
    }

    /// Writes a file of its own; true if it was another before.
    fn write(&self, name: &str, text: &str) -> Result<bool> {
        let path = self.folder.join(name);
        let changed = fs::read_to_string(&path).ok().as_deref() != Some(text);
        if changed {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(changed)
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("updated")
    }

    fn is_current(&self) -> bool {
        let updated = fs::metadata(self.stamp()).and_then(|stamp| stamp.modified());
        updated.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < CURRENT))
    }
}

/// How the machine's apt reaches mirrors, as lines of apt.conf(5).
pub(super) fn reach() -> Result<Vec<String>> {
    let dump = said(Command::new("apt-config").arg("dump"))?;
    let wanted = dump.lines().filter(|line| REACH.iter().any(|name| line.starts_with(name)));
    Ok(wanted.map(str::to_owned).collect())
}

/// Suites as lines of sources.list(5), from the mirrors of the machine's apt; one of security fixes is left out where it
/// knows none.
pub(super) fn sources(suites: &[&str]) -> Result<Vec<String>> {
    let format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
    let known =
        said(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let mirror = |label: &str| {
        known.lines().find_map(|line| {
            let mut fields = line.split('|');
            (fields.next() == Some("Debian") && fields.next() == Some(label)).then(|| fields.next())?
        })
    };
    let Some(main) = mirror("Debian") else {
        bail!("the machine's apt knows no mirror of Debian's; `apt-get update` may be missing");
    };
    let line = |suite: &&str| {
        let uri = if suite.ends_with("-security") { mirror("Debian-Security")? } else { main };
        Some(format!("deb [signed-by={KEYRING}] {uri} {suite} main"))
    };
    Ok(suites.iter().filter_map(line).collect())
}

/// What a command prints; it must succeed.
pub(super) fn said(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
