//! The Debian packages this project needs, each with the reason, in groups by what they serve.
//!
//! Pure data and one question to dpkg; installing them is [`crate::setup`]'s.

use anyhow::{Context as _, Result, ensure};
use std::process::Command;

/// A package and why it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
}

const fn package(name: &'static str, why: &'static str) -> Package {
    Package { name, why }
}

const IPROUTE2: Package = package("iproute2", "links network namespaces, and looks at them");

/// What the packages of a group are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Compiling the daemon and its clients.
    Build,
    /// Building bpf-linker, where it is not installed yet.
    Linker,
    /// A compiler for the eBPF programs, where rustup's toolchains lack the library's source.
    Toolchain,
    /// Clippy for that compiler.
    Lint,
    /// What the daemon calls.
    Run,
    /// What the demo shows with.
    Demo,
    /// What the tests look through.
    Test,
    /// What the daemon is measured against.
    Bench,
    /// What boots another kernel.
    Vm,
    /// What builds a scheduler of the kernel's source, to compare with.
    Flatcg,
    /// What the root of that other kernel has beside what the daemon calls and the tests look through; not for this
    /// machine.
    Guest,
}

impl Group {
    pub(crate) const fn packages(self) -> &'static [Package] {
        const BUILD: &[Package] = &[
            package("gcc", "links every program, compiles the zstd and xz libraries"),
            package("libc6-dev", "what is linked against"),
        ];
        const LINKER: &[Package] = &[
            package("llvm-22-dev", "bpf-linker is a front to this library"),
            package("g++", "LLVM's own libraries are C++"),
            package("zlib1g-dev", "LLVM links with it"),
            package("libzstd-dev", "LLVM links with it"),
        ];
        const TOOLCHAIN: &[Package] = &[
            package("rustc-web", "compiles the eBPF programs"),
            package("cargo-web", "builds with that compiler"),
            package("rust-web-src", "the library's source, for -Z build-std=core"),
        ];
        const LINT: &[Package] = &[package("rust-web-clippy", "lints the eBPF programs")];
        const RUN: &[Package] = &[
            package("mmdebstrap", "makes the root of a Debian suite"),
            package("debian-archive-keyring", "what mmdebstrap downloads is checked against it"),
            package("nftables", "the firewall of zones with a network"),
            package("e2fsprogs", "the file system of zones with a quota"),
        ];
        const DEMO: &[Package] =
            &[IPROUTE2, package("python3", "a web server, and one who lies about its address")];
        const TEST: &[Package] = &[
            package("bpftool", "an independent look at programs and maps"),
            IPROUTE2,
            package("xz-utils", "tar makes an image for the tests with it"),
            package("zstd", "tar makes an image for the tests with it"),
        ];
        const BENCH: &[Package] = &[
            package("bubblewrap", "a peer in `bench boot`"),
            package("crun", "a peer in `bench boot`"),
            IPROUTE2,
            package("iptables", "netavark needs it"),
            package("netavark", "podman's network"),
            package("podman", "a peer in `bench boot`"),
            package("runc", "a peer in `bench boot`"),
            package("systemd-container", "systemd-nspawn, a peer in `bench boot`"),
        ];
        const VM: &[Package] = &[
            package("qemu-system-x86", "the machine that another kernel runs on"),
            package("kmod", "lists what a kernel's modules are for"),
            package("mmdebstrap", "makes the root of that machine"),
            package("debian-archive-keyring", "what is downloaded is checked against it"),
            package("e2fsprogs", "makes the disks of that machine"),
        ];
        const FLATCG: &[Package] = &[
            package("clang-19", "compiles scx_flatcg, a peer in `bench cpu`"),
            package("llvm-19", "strips it"),
            package("make", "builds it, with the kernel's own rules"),
            package("gcc", "compiles bpftool and libbpf, which it is built with"),
            package("libelf-dev", "libbpf links with it"),
            package("libssl-dev", "bpftool links with it"),
            package("zlib1g-dev", "libbpf links with it"),
        ];
        const GUEST: &[Package] = &[
            package("systemd-sysv", "the init"),
            package("kmod", "loads modules when the kernel asks for them"),
            package("procps", "a look around, in a shell there"),
        ];
        match self {
            Self::Build => BUILD,
            Self::Linker => LINKER,
            Self::Toolchain => TOOLCHAIN,
            Self::Lint => LINT,
            Self::Run => RUN,
            Self::Demo => DEMO,
            Self::Test => TEST,
            Self::Bench => BENCH,
            Self::Vm => VM,
            Self::Flatcg => FLATCG,
            Self::Guest => GUEST,
        }
    }
}

/// Packages that nothing here needs, and that apt would take away for the one after them where their version is another,
/// as of a backport: both are built of one source, so an installed one is given the version of the other.
const SIBLINGS: [(Package, &str); 1] =
    [(package("qemu-utils", "of another version it breaks the emulator"), "qemu-system-x86")];

/// What is to be installed along with `names` so that nothing installed has to go, as apt wants it named.
pub(crate) fn along_with(names: &[&str]) -> Result<Vec<String>> {
    let mut along = Vec::new();
    for (sibling, of) in SIBLINGS {
        if names.contains(&of) && missing(&[sibling])?.is_empty() {
            along.push(format!("{}={}", sibling.name, candidate(of)?));
        }
    }
    Ok(along)
}

/// The version of a package that apt would install.
fn candidate(name: &str) -> Result<String> {
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions", name])
        .output()
        .context("cannot ask apt what it would install")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let version = listing.lines().find_map(|line| line.strip_prefix("Version: "));
    Ok(version.with_context(|| format!("apt knows no package {name}"))?.to_owned())
}

/// Those of `packages` that dpkg does not have installed.
pub(crate) fn missing(packages: &[Package]) -> Result<Vec<Package>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages.iter().map(|package| package.name))
        .output()
        .context("cannot ask dpkg what is installed: this set-up step knows Debian only")?;
    // 1 means that some package is unknown: those are the missing ones.
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "dpkg-query failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(not_in(packages, &String::from_utf8_lossy(&output.stdout)))
}

fn not_in(packages: &[Package], listing: &str) -> Vec<Package> {
    let installed = |package: &Package| {
        listing.lines().any(|line| line.split_once(' ') == Some((package.name, "installed")))
    };
    packages.iter().filter(|package| !installed(package)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_package_that_is_installed_whole_counts() {
        let asked = [package("gcc", ""), package("g++", ""), package("crun", "")];
        let missing = not_in(&asked, "gcc installed\ng++ config-files\n");
        assert_eq!(missing, [asked[1], asked[2]]);
    }
}
