//! Booting zones by themselves, once in each life of the host.

use std::{fs, io, path::Path, sync::Arc};

use zoned_api::{State, Verb};

use super::{
    request::{Arguments, What},
    zones::{Zones, boot_order},
};
use crate::store::atomic::{Keep, write};

/// Boots the zones that ask for it, in order, one after the other, if that has not been done since the host
/// started. One that fails keeps no other from booting.
pub async fn autoboot(zones: &Arc<Zones>) {
    let marker = zones.host.run_dir.join("autobooted");
    match done(&marker, &zones.host.boot_id) {
        Ok(false) => {}
        Ok(true) => return,
        Err(e) => {
            tracing::error!("{}: cannot be read, so no zone boots by itself: {e}", marker.display());
            return;
        }
    }
    if let Err(e) = write(&marker, zones.host.boot_id.as_bytes(), Keep::ThroughExit) {
        tracing::error!("{}: cannot be written, so no zone boots by itself: {e}", marker.display());
        return;
    }
    let all = zones.all();
    let asking = all.iter().filter(|z| z.config.autoboot && z.state == State::Installed);
    let asking: Vec<_> =
        asking.map(|z| (z.config.zone.clone(), z.config.order, z.config.after.clone())).collect();
    let (order, circle) = boot_order(&asking);
    if !circle.is_empty() {
        let names: Vec<_> = circle.iter().map(ToString::to_string).collect();
        tracing::warn!("zones wait for each other in `after`: {}; they boot last", names.join(", "));
    }
    for name in order {
        let what = What::Move(Verb::Boot, Arguments::default());
        if let Err(e) = zones.ask(name.as_str(), None, what, 0, None).await {
            tracing::error!("{e}");
        }
    }
}

/// Whether it has been done in this life of the host. A marker that cannot be read may say so.
fn done(marker: &Path, boot_id: &str) -> io::Result<bool> {
    match fs::read(marker) {
        Ok(id) => Ok(id == boot_id.as_bytes()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marker_that_is_not_there_or_of_another_life_means_not_yet() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("autobooted");
        assert!(!done(&marker, "this").unwrap());
        fs::write(&marker, "that").unwrap();
        assert!(!done(&marker, "this").unwrap());
        fs::write(&marker, "this").unwrap();
        assert!(done(&marker, "this").unwrap());
        assert!(done(folder.path(), "this").is_err());
    }
}
