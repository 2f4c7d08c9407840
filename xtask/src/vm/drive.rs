//! The drive that carries what was built here into the guest: the workspace with its sources and programs, as it lies
//! here, and the downloads that tests use.

use super::{apt::said, flatcg, folder};
use crate::{
    build::{self, Profile},
    workspace,
};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where on the drive the agent's program is.
pub(super) const AGENT: &str = "zones-vm-agent";

/// As the text that mkfs reads; what is not written takes no space.
const SIZE: &str = "4G";

/// How what is tested is compiled: emulated, unoptimised programs take five times as long.
pub(super) const PROFILE: Profile = Profile::Emulated;

/// What tests run besides their own programs.
const PROGRAMS: [&str; 4] = ["zoned", "zone-monitor", "zonectl", "zone-test-guard"];

/// What tests find beside their own programs, compiled like them.
const BESIDE_TESTS: &str = "zone-attack";

/// The package that holds the integration tests.
const INTEGRATION: &str = "zone-tests";

/// A program of tests.
pub(super) struct TestProgram {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its package's folder, where it is to be run.
    pub(super) folder: PathBuf,
}

impl TestProgram {
    /// True if some test's name has this in it.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        let listed = said(Command::new(&self.path).args(["--list", name]))?;
        Ok(listed.lines().any(|line| line.ends_with(": test")))
    }
}

/// Which programs of tests are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tests<'a> {
    None,
    Topics(&'a [String]),
    /// The unit tests too.
    All,
}

/// Builds the project and the tests.
pub(super) fn build(tests: Tests<'_>) -> Result<Vec<TestProgram>> {
    build::with_guard(PROFILE)?;
    let integration = |topics: &[String]| {
        let mut arguments = vec!["--package".to_owned(), INTEGRATION.to_owned()];
        arguments.extend(topics.iter().flat_map(|topic| ["--test".to_owned(), topic.clone()]));
        test_programs(&arguments)
    };
    match tests {
        Tests::None => Ok(Vec::new()),
        Tests::Topics(topics) => integration(topics),
        Tests::All => {
            // The programs for the kernel have no tests: there is no harness without the standard library.
            let units =
                ["--workspace", "--exclude", "zone-ebpf", "--exclude", INTEGRATION].map(str::to_owned);
            let mut programs = test_programs(&units)?;
            programs.extend(integration(&[])?);
            Ok(programs)
        }
    }
}

fn test_programs(arguments: &[String]) -> Result<Vec<TestProgram>> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-run", "--message-format=json-render-diagnostics"]).args(arguments);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for line in BufReader::new(output).lines() {
        let message: Value = serde_json::from_str(&line?).context("cargo printed no JSON")?;
        programs.extend(test_program(&message));
    }
    let status = child.wait()?;
    ensure!(status.success(), "cargo test --no-run failed ({status})");
    Ok(programs)
}

/// What cargo says it has built, if that is a program of tests.
fn test_program(message: &Value) -> Option<TestProgram> {
    let is_test = message["profile"]["test"].as_bool()?;
    let path = message["executable"].as_str().filter(|_| is_test)?;
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let name = message["target"]["name"].as_str()?.to_owned();
    Some(TestProgram { name, path: path.into(), folder: manifest.parent()?.to_owned() })
}

/// Makes the drive, or makes it anew in place: a running guest that has let go of it finds the new one there.
pub(super) fn write(drive: &Path, tests: &[TestProgram]) -> Result<()> {
    // Hard links need the same file system as what is built.
    let staged = tempfile::tempdir_in(folder())?;
    let root = workspace::root();
    for entry in fs::read_dir(root)?.flatten() {
        if !["target", ".git"].iter().any(|left_out| entry.file_name() == *left_out) {
            said(Command::new("cp").arg("--archive").arg(entry.path()).arg(staged.path()))?;
        }
    }
    let programs = PROGRAMS.map(|program| PROFILE.binaries().join(program));
    let peer = Some(flatcg::place()).filter(|path| path.exists());
    let beside = Some(Profile::Debug.binaries().join(BESIDE_TESTS)).filter(|_| !tests.is_empty());
    let cache = workspace::cache();
    let downloads = fs::read_dir(&cache).into_iter().flatten().flatten().map(|entry| entry.path());
    let downloads = downloads.filter(|path| path.extension().is_some_and(|extension| extension == "tar"));
    fs::create_dir_all(place(staged.path(), &cache)?)?;
    for file in programs
        .into_iter()
        .chain(beside)
        .chain(peer)
        .chain(tests.iter().map(|test| test.path.clone()))
        .chain(downloads)
    {
        let to = place(staged.path(), &file)?;
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::hard_link(&file, &to).with_context(|| format!("cannot link {}", file.display()))?;
    }
    // Tests of a package find its own programs where they were compiled for them (CARGO_BIN_EXE_…): the same ones there.
    for program in PROGRAMS {
        let to = place(staged.path(), &Profile::Debug.binaries().join(program))?;
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::hard_link(PROFILE.binaries().join(program), &to)
            .with_context(|| format!("cannot link {program}"))?;
    }
    fs::copy(env::current_exe()?, staged.path().join(AGENT))?;
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-m", "0", "-O", "^has_journal", "-d"]).arg(staged.path()).arg(drive).arg(SIZE);
    said(&mut mkfs)?;
    Ok(())
}

/// Where a file of the workspace's lies on the drive.
fn place(drive: &Path, file: &Path) -> Result<PathBuf> {
    match file.strip_prefix(workspace::root()) {
        Ok(below) => Ok(drive.join(below)),
        Err(_) => bail!(
            "{} is outside of the workspace, and the guest has nothing but that; unset CARGO_TARGET_DIR",
            file.display()
        ),
    }
}
