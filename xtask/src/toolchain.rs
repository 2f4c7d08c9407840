//! Which Rust toolchain and which linker can build the eBPF programs on this machine.
//!
//! The programs are built with `-Z build-std=core`, so a toolchain must come with the source of the standard
//! library. rustup's nightly is preferred (there the flag is at home), then any other toolchain of rustup's (with
//! `RUSTC_BOOTSTRAP=1`), then the distribution's: Debian's `rustc-web` ships that source as a package.

use crate::workspace;
use anyhow::{Context as _, Result, bail};
use std::{
    cmp::Reverse,
    fmt, fs,
    path::{Path, PathBuf},
};

/// The oldest compiler that aya-ebpf and this workspace build with.
const OLDEST_RUSTC: Version = Version(1, 95, 0);
/// The LLVM that `cargo xtask setup` builds bpf-linker against: it reads bitcode of this major version and older.
pub(crate) const LLVM: u32 = 22;
/// Older linkers drop the arguments of external functions and write no BTF for statics.
pub(crate) const OLDEST_LINKER: Version = Version(0, 13, 0);

/// A version of three numbers; what follows them (`-nightly`) is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = digits.split('.').map(str::parse);
        let mut next = || parts.next().and_then(Result::ok);
        Some(Self(next()?, next()?, next().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Where a toolchain comes from, in the order in which they are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Nightly,
    Rustup,
    Distribution,
}

/// A toolchain that is installed, and whether it will do.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) version: Version,
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    /// Why it cannot build the programs, if it cannot.
    pub(crate) unfit: Option<String>,
}

/// The toolchain to build with, or what is wrong with each one that is there.
pub(crate) fn choose() -> Result<Toolchain> {
    let all = all();
    if let Some(fit) = all.iter().find(|toolchain| toolchain.unfit.is_none()) {
        return Ok(fit.clone());
    }
    let found: Vec<_> =
        all.iter().map(|t| format!("\n  {}: {}", t.name, t.unfit.as_deref().unwrap_or("will do"))).collect();
    bail!(
        "no Rust toolchain here can build eBPF programs{}\nrun `cargo xtask setup`, which installs one",
        found.concat()
    )
}

/// Every toolchain found, the most preferred first.
pub(crate) fn all() -> Vec<Toolchain> {
    let mut found: Vec<_> = rustup_sysroots()
        .into_iter()
        .filter_map(|(name, sysroot)| inspect(name, &sysroot, false))
        .chain(inspect("the distribution's".into(), Path::new("/usr"), true))
        .collect();
    found.sort_by_key(|t| (t.origin, Reverse(t.version)));
    found
}

fn rustup_sysroots() -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(workspace::rustup_home().join("toolchains")) else {
        return Vec::new();
    };
    entries.flatten().map(|e| (e.file_name().to_string_lossy().into_owned(), e.path())).collect()
}

fn inspect(name: String, sysroot: &Path, distribution: bool) -> Option<Toolchain> {
    let (rustc, cargo) = (sysroot.join("bin/rustc"), sysroot.join("bin/cargo"));
    let output = workspace::foreign(&rustc).arg("-vV").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let field = |key: &str| said.lines().find_map(|line| line.strip_prefix(key));
    let release = field("release: ")?;
    let version = Version::parse(release)?;
    let llvm = field("LLVM version: ").and_then(Version::parse);
    let origin = match (distribution, release.contains("nightly")) {
        (true, _) => Origin::Distribution,
        (false, true) => Origin::Nightly,
        (false, false) => Origin::Rustup,
    };
    let source = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    let unfit = if !source.is_file() {
        Some("it lacks the source of the standard library (rust-src)".into())
    } else if !cargo.is_file() {
        Some("it has no cargo".into())
    } else if version < OLDEST_RUSTC {
        Some(format!("rustc {version} is older than {OLDEST_RUSTC}"))
    } else {
        llvm.filter(|llvm| llvm.0 > LLVM)
            .map(|llvm| format!("its LLVM {} is newer than bpf-linker's, {LLVM}", llvm.0))
    };
    Some(Toolchain { name, origin, version, rustc, cargo, unfit })
}

/// bpf-linker and its version, wherever it is installed.
pub(crate) fn linker() -> Option<(PathBuf, Version)> {
    let path = workspace::find_program("bpf-linker")?;
    let output = workspace::foreign(&path).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout);
    Some((path, Version::parse(version.split_whitespace().last()?)?))
}

/// A linker that is new enough.
pub(crate) fn choose_linker() -> Result<PathBuf> {
    let (path, version) =
        linker().context("bpf-linker is not installed\nrun `cargo xtask setup`, which builds it")?;
    if version < OLDEST_LINKER {
        bail!("{} is version {version}, older than {OLDEST_LINKER}\nrun `cargo xtask setup`", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        assert_eq!(Version::parse("1.97.0-nightly"), Some(Version(1, 97, 0)));
        assert_eq!(Version::parse("22.1"), Some(Version(22, 1, 0)));
        assert_eq!(Version::parse("none"), None);
        assert!(Version(1, 100, 0) > OLDEST_RUSTC);
    }

    #[test]
    fn nightly_comes_first_and_the_distributions_last() {
        assert!(Origin::Nightly < Origin::Rustup && Origin::Rustup < Origin::Distribution);
    }
}
