//! Where the built programs are.

use std::{env, path::PathBuf};

/// A built program by name: from the folder ZONES_BIN names, else beside this test's own.
///
/// # Panics
/// If it is not there.
pub fn path(name: &str) -> PathBuf {
    let folder = env::var_os("ZONES_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let own = env::current_exe().unwrap_or_default();
        // target/debug/deps/<test>
        own.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
    });
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask build` first", path.display());
    path
}
