//! The root that every subject is started on, and the program in it.

use crate::workspace;
use anyhow::{Context as _, Result, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const SOURCE: &str = "xtask/bench/probe.rs";
/// Where the program lies in the root.
pub(crate) const PROGRAM: &str = "/probe";

/// Makes a root folder below `parent` that holds the probe and what runtimes insist on finding.
pub(crate) fn make_root(parent: &Path) -> Result<PathBuf> {
    let root = parent.join("root");
    for folder in ["proc", "sys", "dev", "run", "tmp", "var", "etc", "usr/bin"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("etc/os-release"), "ID=probe\nPRETTY_NAME=\"Boot probe\"\n")?;
    compile(&root.join(&PROGRAM[1..]))?;
    Ok(root)
}

fn compile(to: &Path) -> Result<()> {
    // The compiler beside the cargo that runs this.
    let beside = env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    let rustc = beside.filter(|rustc| rustc.is_file()).unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--edition", "2024", "-Copt-level=2", "-Cpanic=abort", "-Cstrip=symbols"])
        .args(["-Crelocation-model=static", "-Clink-args=-nostartfiles -nostdlib -static", "-o"])
        .arg(to)
        .arg(workspace::root().join(SOURCE))
        .output()
        .with_context(|| format!("cannot run {}", rustc.display()))?;
    ensure!(
        output.status.success(),
        "{SOURCE} does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The time the probe printed, from what a console or pipe received: its last line of digits.
pub(crate) fn stamp(output: &str) -> Option<SystemTime> {
    let last = output.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(UNIX_EPOCH + Duration::from_nanos(last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_stamp() {
        let at = |ns| Some(UNIX_EPOCH + Duration::from_nanos(ns));
        assert_eq!(stamp("1795477531964275149\n"), at(1_795_477_531_964_275_149));
        assert_eq!(stamp("1\r\n[zone halted]\r\n20\r\n\r\n"), at(20));
        assert_eq!(stamp("not a number\n"), None);
    }
}
