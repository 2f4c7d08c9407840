//! Booting zones by themselves, once in each life of the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zoned_api::{ApiError, State, Verb, ZoneName};

use super::{
    online,
    request::{Arguments, What},
    zones::{Zones, boot_order},
};
use crate::store::atomic::{Keep, write};

/// Boots the zones that ask for it, in order, as far as that has not been done since the host started. One that comes
/// after others waits until those are online, or should have been; nobody else waits for it meanwhile. One that fails
/// keeps no other from booting.
pub async fn autoboot(zones: &Arc<Zones>) {
    let all = zones.all();
    let asking = all.iter().filter(|z| z.config.autoboot && z.state == State::Installed);
    let mut asking: Vec<_> =
        asking.map(|z| (z.config.zone.clone(), z.config.order, z.config.after.clone())).collect();
    let marker = zones.host.run_dir.join("autobooted");
    let names = asking.iter().map(|(name, ..)| name.clone()).collect();
    let left = match Left::open(&marker, &zones.host.boot_id, names) {
        Ok(left) => left,
        Err(e) => {
            tracing::error!(
                "{}: cannot be read or written, so no zone boots by itself: {e}",
                marker.display()
            );
            return;
        }
    };
    asking.retain(|(name, ..)| left.names.contains(name));
    let (order, circle) = boot_order(&asking);
    if !circle.is_empty() {
        let names: Vec<_> = circle.iter().map(ToString::to_string).collect();
        tracing::warn!("zones wait for each other in `after`: {}; they boot last", names.join(", "));
    }
    let mut after: BTreeMap<ZoneName, Vec<ZoneName>> =
        asking.into_iter().map(|(name, _, after)| (name, after)).collect();
    let left = Arc::new(Mutex::new(left));
    let mut asked: BTreeMap<ZoneName, CancellationToken> = BTreeMap::new();
    for name in &order {
        let before = after.remove(name).unwrap_or_default().into_iter();
        // Who boots later although this one should wait for it is in a circle with it.
        let before = before.filter(|other| asked.contains_key(other) || !order.contains(other));
        let before: Vec<_> = before.map(|other| (asked.get(&other).cloned(), other)).collect();
        let (here, done) = (name.clone(), CancellationToken::new());
        asked.insert(name.clone(), done.clone());
        let (zones, left) = (zones.clone(), left.clone());
        let alone = before.is_empty();
        let coming = tokio::spawn(async move {
            // However this ends.
            let _done = done.drop_guard();
            for (asked, other) in before {
                wait(&zones, &here, asked, &other).await;
            }
            boot(&zones, &here).await;
            left.lock().unwrap_or_else(PoisonError::into_inner).strike(&here);
        });
        if alone {
            // A panic has been logged.
            let _ = coming.await;
        }
    }
}

async fn boot(zones: &Zones, name: &ZoneName) {
    let what = What::Move(Verb::Boot, Arguments::default());
    if let Err(e) = zones.ask(name.as_str(), None, what, 0, None).await {
        tracing::error!("{e}");
    }
}

/// Waits until another zone is online, once it has been asked to boot; not longer than its configuration says.
async fn wait(zones: &Zones, name: &ZoneName, asked: Option<CancellationToken>, other: &ZoneName) {
    if let Some(asked) = asked {
        asked.cancelled().await;
    }
    let online = async {
        // Nobody is told.
        let (steps, _) = mpsc::channel(1);
        online::wait(&zones.find(other.as_str())?, None, steps).await.map(drop)
    };
    if let Err(e) = online.await.or_else(unless_absent) {
        tracing::warn!(zone = %name, "boots without what it comes after: {e}");
    }
}

/// A zone that is not there is waited for no more than one that does not boot.
fn unless_absent(error: ApiError) -> Result<(), ApiError> {
    if matches!(error, ApiError::NoSuchZone { .. }) { Ok(()) } else { Err(error) }
}

/// The zones that have not been asked to boot yet in this life of the host: in a file, for the daemon that goes on if
/// this one dies.
#[derive(Debug)]
struct Left {
    path: PathBuf,
    boot_id: String,
    names: BTreeSet<ZoneName>,
}

impl Left {
    /// What an earlier daemon left, or all of `names` if there was none. (A file that cannot be read may say that nothing
    /// is left.)
    fn open(path: &Path, boot_id: &str, names: BTreeSet<ZoneName>) -> io::Result<Self> {
        let mut left = Self { path: path.to_owned(), boot_id: boot_id.to_owned(), names };
        match fs::read_to_string(path) {
            Ok(text) => {
                let mut lines = text.lines();
                if lines.next() == Some(boot_id) {
                    left.names = lines.filter_map(|name| name.parse().ok()).collect();
                    return Ok(left);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        left.write().map(|()| left)
    }

    fn strike(&mut self, name: &ZoneName) {
        self.names.remove(name);
        if let Err(e) = self.write() {
            tracing::warn!("{}: cannot be written: {e}", self.path.display());
        }
    }

    fn write(&self) -> io::Result<()> {
        let names = self.names.iter().map(ZoneName::as_str);
        let lines: Vec<_> = std::iter::once(self.boot_id.as_str()).chain(names).collect();
        write(&self.path, lines.join("\n").as_bytes(), Keep::ThroughExit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_of_this_life_of_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("autobooted");
        let names: BTreeSet<ZoneName> = ["a", "b"].map(|name| name.parse().unwrap()).into();
        let open = |life: &str| Left::open(&path, life, names.clone()).map(|left| left.names);
        assert_eq!(open("that").unwrap(), names);
        let mut left = Left::open(&path, "this", names.clone()).unwrap();
        assert_eq!(left.names, names, "of another life");
        left.strike(&"a".parse().unwrap());
        assert_eq!(open("this").unwrap(), ["b".parse().unwrap()].into());
        left.strike(&"b".parse().unwrap());
        assert_eq!(open("this").unwrap(), BTreeSet::new());
        assert!(Left::open(folder.path(), "this", names).is_err(), "one that cannot be read");
    }
}
