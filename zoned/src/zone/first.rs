//! Whether a zone's root has the program that is to run first in it.

use std::path::Path;

use brands::detect::{InitCheck, check_init};
use zoned_api::ZoneName;

use super::status::Status;
use crate::{host::Host, plan::build::own_init};

/// What is wrong with the first program of an installed zone, as far as its root tells.
pub(super) fn fault(host: &Host, status: &Status) -> Option<InitCheck> {
    let config = &status.config;
    let (profile, _) = host.brands.confinement(config).ok()?;
    let init = own_init(config, &profile)?;
    // What is shown from the host is in no root.
    if config.fs.iter().any(|fs| Path::new(&init).starts_with(&fs.target)) {
        return None;
    }
    let view = host.images.view(status.uuid(), config.root.sparse).ok()?;
    Some(check_init(&view, &init)).filter(|check| !check.can_boot())
}

/// What to do about it.
pub(super) fn hint(zone: &ZoneName) -> String {
    format!(
        "`zonectl set {zone} process.init=none` gives it the built-in init, which needs nothing of the root"
    )
}
