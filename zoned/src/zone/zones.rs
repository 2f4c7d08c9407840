//! All zones: finding one, making one, asking one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use zoned_api::{ApiError, EventKind, ZoneInfo, ZoneName};

use super::{
    actor::{Actor, Handle},
    configure,
    operation::Task,
    request::{Answer, Request, Step, What},
    status::Status,
};
use crate::{
    events::{escape, now_ms},
    fault::failed,
    host::Host,
    store::{
        Stored,
        record::{History, Record},
    },
};

/// The zones of this host. Holds the only handles by which actors live.
#[derive(Debug)]
pub struct Zones {
    /// What they share.
    pub host: Arc<Host>,
    actors: Mutex<BTreeMap<Uuid, Handle>>,
}

impl Zones {
    /// None yet.
    pub fn new(host: Arc<Host>) -> Arc<Self> {
        Arc::new(Self { host, actors: Mutex::default() })
    }

    /// Starts the actor of a zone whose name is claimed.
    pub fn start(self: &Arc<Self>, status: Status, first: Option<Task>) {
        let (uuid, zones) = (status.uuid(), Arc::downgrade(self));
        let gone = move || {
            if let Some(zones) = Weak::upgrade(&zones) {
                zones.lock().remove(&uuid);
            }
        };
        // Under the lock, so that the actor cannot be gone before it is there.
        let mut actors = self.lock();
        actors.insert(uuid, Actor::start(self.host.clone(), status, first, gone));
    }

    /// Makes a zone. Answers when it is kept on disk.
    pub async fn create(self: &Arc<Self>, yaml: String) -> Result<Status, ApiError> {
        let config = configure::check(&self.host, &yaml)?;
        let uuid = Uuid::new_v4();
        self.host.names.claim(&config.zone, uuid)?;
        let claimed = self.host.network.claim(uuid, &config).map_err(|e| e.to_api());
        claimed.inspect_err(|_| self.host.names.release(&config.zone, uuid))?;
        let name = config.zone.clone();
        let host = self.host.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let record = Record::new(uuid, now_ms());
            let ids = host.store.ids.of(&uuid)?;
            host.store.create(&record, &yaml).inspect_err(|_| drop(host.store.ids.free(&uuid)))?;
            let kept = host.network.keep(&uuid, &host.store.folder(&uuid));
            kept.inspect_err(|_| drop(host.store.remove(&uuid)))?;
            Ok((Stored { record, yaml, config, history: History::default() }, ids))
        });
        match kept
            .await
            .map_err(|e| failed(&e))
            .and_then(|r| r.map_err(|e: crate::store::StoreError| failed(&e)))
        {
            Ok((stored, ids)) => {
                let status = Status::at_rest(stored, ids);
                self.start(status.clone(), None);
                self.host.journal.note(Some(&name), EventKind::Configured { what: "created".into() });
                Ok(status)
            }
            Err(e) => {
                self.host.names.release(&name, uuid);
                self.host.network.put(uuid, None);
                Err(e)
            }
        }
    }

    /// Finds a zone by name or UUID.
    pub fn find(&self, zone: &str) -> Result<Handle, ApiError> {
        let uuid = self.host.names.owner(zone).or_else(|| zone.parse().ok());
        let found = uuid.and_then(|uuid| self.lock().get(&uuid).cloned());
        // What was asked for goes back to a terminal.
        let shown = || escape(zone.as_bytes()).chars().take(80).collect();
        found.ok_or_else(|| ApiError::NoSuchZone { zone: shown() })
    }

    /// All zones, by name.
    pub fn all(&self) -> Vec<Arc<Status>> {
        let mut all: Vec<_> = self.lock().values().map(|handle| handle.status.borrow().clone()).collect();
        all.sort_by(|a, b| a.config.zone.cmp(&b.config.zone));
        all
    }

    /// Asks a zone for something, and waits for the answer. The work goes on if this is dropped.
    pub async fn ask(
        &self,
        zone: &str,
        uuid: Option<Uuid>,
        what: What,
        uid: u32,
        steps: Option<mpsc::Sender<Step>>,
    ) -> Result<Answer, ApiError> {
        let handle = self.find(zone)?;
        let gone = || ApiError::NoSuchZone { zone: zone.to_owned() };
        // The name may have been given to another zone since the client looked.
        if uuid.is_some_and(|uuid| uuid != handle.status.borrow().uuid()) {
            return Err(gone());
        }
        let (answer, answered) = oneshot::channel();
        handle.inbox.send(Request { what, uid, steps, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, Handle>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For `list` and `info`.
pub fn infos(host: &Host, statuses: &[Arc<Status>]) -> Vec<ZoneInfo> {
    statuses.iter().map(|status| status.info(host)).collect()
}

/// The order in which zones boot by themselves: by `order`, then name, but none before those it comes `after`.
/// Zones that wait for each other in a circle come last, in that order, and are returned apart too.
pub fn boot_order(zones: &[(ZoneName, u32, Vec<ZoneName>)]) -> (Vec<ZoneName>, Vec<ZoneName>) {
    let mut left: Vec<_> = zones.iter().collect();
    left.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    let mut order: Vec<ZoneName> = Vec::new();
    // One that waits for a zone that does not boot by itself waits for nothing.
    while let Some(at) =
        left.iter().position(|z| !z.2.iter().any(|name| left.iter().any(|other| other.0 == *name)))
    {
        order.push(left.remove(at).0.clone());
    }
    let circle: Vec<ZoneName> = left.iter().map(|z| z.0.clone()).collect();
    order.extend(circle.iter().cloned());
    (order, circle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(zones: &[(&str, u32, &[&str])]) -> (Vec<String>, Vec<String>) {
        let name = |n: &&str| n.parse::<ZoneName>().unwrap();
        let zones: Vec<_> =
            zones.iter().map(|(n, o, after)| (name(n), *o, after.iter().map(name).collect())).collect();
        let (order, circle) = boot_order(&zones);
        let text = |names: Vec<ZoneName>| names.iter().map(ToString::to_string).collect();
        (text(order), text(circle))
    }

    #[test]
    fn zones_boot_by_order_then_name_but_after_those_they_wait_for() {
        assert_eq!(ordered(&[("c", 0, &[]), ("b", 1, &[]), ("a", 1, &[])]).0, ["c", "a", "b"]);
        assert_eq!(ordered(&[("web", 0, &["db"]), ("db", 9, &[]), ("log", 5, &[])]).0, ["log", "db", "web"]);
        assert_eq!(ordered(&[("web", 0, &["absent"])]).0, ["web"]);
    }

    #[test]
    fn zones_in_a_circle_boot_last_and_are_told() {
        let (order, circle) = ordered(&[("a", 0, &["b"]), ("b", 0, &["a"]), ("c", 7, &[])]);
        assert_eq!(order, ["c", "a", "b"]);
        assert_eq!(circle, ["a", "b"]);
    }
}
