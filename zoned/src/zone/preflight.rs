//! What a boot needs of the host, looked at before a zone that runs is stopped for one.
//!
//! No promise: what is there now may be gone when the boot comes to it.

use std::{
    fs::symlink_metadata,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use zoned_api::{
    ApiError,
    config::{Device, Fs},
};

use super::{configure, status::Status};
use crate::{fault::whole, host::Host};

/// Whether the zone could be booted with its configuration as it is now.
pub(super) fn check(host: &Host, status: &Status) -> Result<(), ApiError> {
    configure::against_brand(host, &status.config)?;
    host.images.lowers(status.uuid()).map_err(|e| e.to_api())?;
    sources(&status.config.fs)
        .and_then(|()| nodes(&status.config.device))
        .map_err(|why| ApiError::invalid(format!("zone {}: not rebooted: {why}", status.config.zone), hint()))
}

fn hint() -> Option<String> {
    Some("the zone runs on; put it there or change the configuration with `zonectl set`, then reboot".into())
}

fn sources(fs: &[Fs]) -> Result<(), String> {
    fs.iter().enumerate().try_for_each(|(i, fs)| {
        let mut path = PathBuf::new();
        for part in Path::new(&fs.source).components() {
            path.push(part);
            let seen = symlink_metadata(&path)
                .map_err(|e| format!("fs[{i}].source: {}: {}", path.display(), whole(&e)))?;
            if seen.is_symlink() {
                return Err(format!("fs[{i}].source: {} is a symbolic link", path.display()));
            }
        }
        Ok(())
    })
}

fn nodes(devices: &[Device]) -> Result<(), String> {
    devices.iter().enumerate().try_for_each(|(i, device)| {
        let fault = |why: String| Err(format!("device[{i}].match: {}: {why}", device.path));
        match std::fs::metadata(&device.path) {
            Err(e) => fault(whole(&e)),
            Ok(seen) if !(seen.file_type().is_char_device() || seen.file_type().is_block_device()) => {
                fault("is no device".into())
            }
            Ok(_) => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fs(source: &str) -> Result<(), String> {
        sources(&[Fs { source: source.into(), target: "/t".into(), options: vec![] }])
    }

    #[test]
    fn what_is_not_there_is_told_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/usr", &link).unwrap();
        assert_eq!(fs("/usr"), Ok(()));
        assert!(fs("/usr/nowhere/at/all").unwrap_err().starts_with("fs[0].source: /usr/nowhere: "));
        assert!(fs(link.to_str().unwrap()).unwrap_err().contains("is a symbolic link"));
        let node = |path: &str| nodes(&[Device { path: path.into() }]);
        assert_eq!(node("/dev/null"), Ok(()));
        assert!(node("/dev/no-such").unwrap_err().starts_with("device[0].match: /dev/no-such: "));
        assert!(node("/dev/../usr").unwrap_err().contains("is no device"));
    }
}
