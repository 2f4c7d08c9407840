//! scx_flatcg, the kernel's own example of a scheduler that goes by groups' weights, for `bench cpu` to compare with: built
//! from the source package of the kernel that is booted.

use super::{
    apt::{Apt, said},
    drive,
    kernel::Kernel,
};
use crate::progress;
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What it is called, beside the project's programs.
pub(super) const PROGRAM: &str = "scx_flatcg";
/// The compiler that Debian's newest kernels are known to build with.
const LLVM: &str = "19";
/// What of a kernel's source its schedulers are built from.
const PARTS: [&str; 5] = ["tools", "scripts", "include", "kernel/bpf", "arch/x86/include"];

/// Where it lies once it is built, with the programs that go into a machine.
pub(super) fn place() -> PathBuf {
    drive::PROFILE.binaries().join(PROGRAM)
}

/// Builds it, unless it is there.
pub(super) fn build(kernel: &Kernel) -> Result<PathBuf> {
    let to = place();
    if to.exists() {
        return Ok(to);
    }
    let folder = tempfile::tempdir_in(super::folder())?;
    let source = unpack(kernel, folder.path())?;
    let types = folder.path().join("vmlinux");
    let image = Command::new(source.join("scripts/extract-vmlinux"))
        .arg(kernel.image())
        .stdout(File::create(&types)?)
        .stderr(Stdio::null())
        .status()
        .context("cannot run extract-vmlinux")?;
    anyhow::ensure!(image.success(), "no kernel in {}", kernel.image().display());
    let mut make = Command::new("make");
    make.arg("--directory").arg(source.join("tools/sched_ext"));
    make.arg(format!("CLANG=clang-{LLVM}")).arg(format!("LLVM_STRIP=llvm-strip-{LLVM}"));
    make.arg(format!("VMLINUX_BTF={}", types.display())).arg(PROGRAM);
    progress::logged(&format!("building {PROGRAM}"), "vm-flatcg.log", &mut make)?;
    fs::create_dir_all(to.parent().unwrap_or(&to))?;
    fs::copy(source.join("tools/sched_ext/build/bin").join(PROGRAM), &to)
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to)
}

/// Fetches the source of a kernel and unpacks what is needed of it.
fn unpack(kernel: &Kernel, into: &Path) -> Result<PathBuf> {
    let package = format!("linux-source-{}", kernel.series());
    Apt::open(false)?.unpack(&[&package], into)?;
    let archive = into.join("usr/src").join(format!("{package}.tar.xz"));
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--directory").arg(into).arg("--file").arg(archive);
    tar.args(PARTS.map(|part| format!("{package}/{part}")));
    said(&mut tar)?;
    Ok(into.join(package))
}
