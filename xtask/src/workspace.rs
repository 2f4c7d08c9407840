//! Where things lie in this workspace, and how cargo is called in it.
//!
//! Cargo hands its children variables meant for them alone (its own path, the package being run, the library path
//! of its toolchain). A cargo of another toolchain called from here must see none of them.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where cargo puts what it builds for the host.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A target folder of its own for the eBPF build, so that it never waits for the lock of a host build.
pub(crate) fn ebpf_target_dir() -> PathBuf {
    root().join("target/ebpf")
}

/// The finished object, where `zoned`'s build script looks for it.
pub(crate) fn ebpf_object(name: &str) -> PathBuf {
    ebpf_target_dir().join(format!("{name}.o"))
}

/// What daemons of xtask's own and of the tests download, kept for the next run.
pub(crate) fn cache() -> PathBuf {
    root().join("target/xtask/cache")
}

/// The cargo that runs this program, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in env::vars_os().filter(|(name, _)| is_about_this_package(name)) {
        command.env_remove(name);
    }
    command
}

/// A command of another toolchain: the environment carries nothing of the cargo that runs this program.
pub(crate) fn foreign(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in env::vars_os().filter(|(name, _)| is_cargos_own(name)) {
        command.env_remove(name);
    }
    command
}

/// `CARGO_HOME`, where `cargo install` puts programs below `bin/`.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

/// `RUSTUP_HOME`, which holds the toolchains.
pub(crate) fn rustup_home() -> PathBuf {
    env::var_os("RUSTUP_HOME").map_or_else(|| home().join(".rustup"), PathBuf::from)
}

/// The first file named `program` in cargo's own folder of programs and then along `PATH`.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    // Daemons' programs lie in the sbin folders, which a user's PATH often lacks.
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::iter::once(cargo_home().join("bin"))
        .chain(env::split_paths(&path))
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn home() -> PathBuf {
    env::home_dir().unwrap_or_else(|| PathBuf::from("/root"))
}

fn is_about_this_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_BIN_")
}

fn is_cargos_own(name: &OsStr) -> bool {
    // What a person may have set about where crates come from, and how much to print or use, stays.
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_BUILD_JOBS",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRY_",
        "CARGO_REGISTRIES_",
        "CARGO_TERM_",
    ];
    let name = name.to_string_lossy();
    let cargo =
        name == "CARGO" || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)));
    let rust = name.starts_with("RUSTC") || name.starts_with("RUSTDOC") || name == "RUSTFLAGS";
    cargo || rust || name == "RUSTUP_TOOLCHAIN" || name == "LD_LIBRARY_PATH"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_variables_are_told_from_the_users() {
        for own in [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_cargos_own(OsStr::new(own)), "{own}");
        }
        for users in ["CARGO_HOME", "CARGO_REGISTRIES_CORP_INDEX", "CARGO_HTTP_PROXY", "RUSTUP_HOME", "PATH"]
        {
            assert!(!is_cargos_own(OsStr::new(users)), "{users}");
        }
    }
}
