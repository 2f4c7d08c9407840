//! What a boot needs of the host, looked at before a zone that runs is stopped for one.
//!
//! No promise: what is there now may be gone when the boot comes to it.

use std::{
    fs::symlink_metadata,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zoned_api::{ApiError, ZoneConfig};

use super::{configure, limits, status::Status};
use crate::{fault::whole, host::Host};

/// Whether the zone could be booted with its configuration as it is now.
pub(super) fn check(host: &Host, status: &Status) -> Result<(), ApiError> {
    configure::against_brand(host, &status.config)?;
    limits::check(host, &status.config)?;
    limits::check_boot(host, status, &status.config)?;
    host.images.lowers(status.uuid()).map_err(|e| e.to_api())?;
    host.network.plan(&status.identity(), &status.config).map_err(|e| e.to_api())?;
    match missing(&status.config).into_iter().next() {
        None => Ok(()),
        Some(why) => {
            Err(ApiError::invalid(format!("zone {}: not rebooted: {why}", status.config.zone), hint()))
        }
    }
}

fn hint() -> Option<String> {
    Some("the zone runs on; put it there or change the configuration with `zonectl set`, then reboot".into())
}

/// What of the host's a configuration names and is not there to be shown in a zone, by its key.
pub(super) fn missing(config: &ZoneConfig) -> Vec<String> {
    let sources = config
        .fs
        .iter()
        .enumerate()
        .filter_map(|(i, fs)| source(&fs.source).err().map(|why| format!("fs[{i}].source: {why}")));
    let nodes = config.device.iter().enumerate().filter_map(|(i, device)| {
        node(&device.path).err().map(|why| format!("device[{i}].match: {}: {why}", device.path))
    });
    sources.chain(nodes).collect()
}

fn source(named: &str) -> Result<(), String> {
    let mut path = PathBuf::new();
    for part in Path::new(named).components() {
        path.push(part);
        let seen = symlink_metadata(&path).map_err(|e| format!("{}: {}", path.display(), whole(&e)))?;
        if seen.is_symlink() {
            return Err(format!("{} is a symbolic link", path.display()));
        }
    }
    Ok(())
}

fn node(path: &str) -> Result<(), String> {
    let kind = std::fs::metadata(path).map_err(|e| whole(&e))?.file_type();
    if kind.is_char_device() || kind.is_block_device() { Ok(()) } else { Err("is no device".into()) }
}

/// Devices that are there and of no use: the zone's root is nobody to a node of the host's.
pub(super) fn of_no_use(config: &ZoneConfig) -> Vec<String> {
    let closed = |path: &str| {
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o006 == 0).then_some(mode)
    };
    let all = config.device.iter().enumerate().filter_map(|(i, device)| {
        let mode = closed(&device.path)?;
        let path = &device.path;
        Some(format!("device[{i}].match: {path} has the mode {mode:04o}: whom the host lets open it, nobody in the zone is"))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/usr", &link).unwrap();
        let missing = |yaml: &str| missing(&ZoneConfig::parse(&format!("zone: a\n{yaml}")).unwrap());
        let fs = |source: &str| missing(&format!("fs: [{{ source: {source}, target: /t }}]")).join("");
        assert_eq!(fs("/usr"), "");
        assert!(fs("/usr/nowhere/at/all").starts_with("fs[0].source: /usr/nowhere: No such file"));
        assert!(fs(link.to_str().unwrap()).contains("is a symbolic link"));
        let all = missing("device: [{ match: /dev/null }, { match: /dev/no-such }, { match: /dev/fd }]");
        assert!(all[0].starts_with("device[1].match: /dev/no-such: "), "{all:?}");
        assert_eq!(all[1], "device[2].match: /dev/fd: is no device");
        assert_eq!(all.len(), 2);
    }
}
