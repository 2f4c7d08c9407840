//! Booting zones by themselves, once in each life of the host.

use std::sync::Arc;

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
    if std::fs::read_to_string(&marker).is_ok_and(|id| id == zones.host.boot_id) {
        return;
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
