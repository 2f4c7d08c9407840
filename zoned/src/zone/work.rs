//! What an operation on a zone works with while it is under way.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zoned_api::{ApiError, EventKind, State};

use super::{request::Step, status::Status};
use crate::{
    host::Host,
    store::record::{History, Root},
};

/// A state, and why the zone is in it.
type Rest = (State, Option<String>);

/// Handed to an operation by the zone's actor; both change the same status.
#[derive(Clone, Debug)]
pub struct Work {
    /// What all zones share.
    pub host: Arc<Host>,
    /// Set when the operation is to break off as soon as that leaves nothing half done.
    pub cancel: CancellationToken,
    status: Arc<watch::Sender<Arc<Status>>>,
    /// Where the zone comes to rest when the operation has ended.
    rest: Arc<Mutex<Option<Rest>>>,
    /// Where steps are told. The actor adds whoever joins.
    listeners: Arc<Mutex<Vec<mpsc::Sender<Step>>>>,
}

impl Work {
    /// For one operation.
    pub fn new(host: Arc<Host>, status: Arc<watch::Sender<Arc<Status>>>) -> Self {
        Self {
            host,
            cancel: CancellationToken::new(),
            status,
            rest: Arc::default(),
            listeners: Arc::default(),
        }
    }

    /// The zone as it is now.
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// Changes what is known of the zone; a change of its state is an event.
    pub fn change(&self, change: impl FnOnce(&mut Status)) {
        self::change(&self.host, &self.status, change);
    }

    /// Says in which state the zone is once the operation has ended. Who sees that state finds the zone free.
    pub fn end_in(&self, state: State, reason: Option<String>) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some((state, reason));
    }

    /// The operation has ended: its last state and its end are one change.
    pub fn end(&self) {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.change(|status| {
            status.doing = None;
            if let Some((state, reason)) = rest {
                (status.state, status.reason) = (state, reason);
            }
        });
    }

    /// Moves the zone to a state.
    pub fn enter(&self, state: State, reason: Option<String>) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.change(|status| (status.state, status.reason) = (state, reason));
    }

    /// Keeps whether the zone has a root.
    pub async fn keep_root(&self, root: Root) -> Result<(), ApiError> {
        let mut record = self.status().record.clone();
        record.root = root;
        let kept = record.clone();
        self.blocking(move |host| host.store.save_record(&kept))
            .await
            .map_err(|e| crate::fault::failed(&e))?;
        self.change(|status| status.record = record);
        Ok(())
    }

    /// Keeps the zone's history. One that cannot be written is a warning: it is made for people.
    pub async fn keep_history(&self, change: impl FnOnce(&mut History)) {
        let status = self.status();
        let mut history = status.history.clone();
        change(&mut history);
        let (uuid, kept) = (status.uuid(), history.clone());
        if let Err(e) = self.blocking(move |host| host.store.save_history(&uuid, &kept)).await {
            tracing::warn!(zone = %status.config.zone, "{}", crate::fault::whole(&e));
        }
        self.change(|status| status.history = history);
    }

    /// Adds somebody who is told the steps.
    pub fn listen(&self, listener: mpsc::Sender<Step>) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Tells a step.
    pub fn step(&self, what: impl Into<String>, amount: Option<(u64, Option<u64>)>) {
        let what = what.into();
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Full: whoever reads too slowly misses a step, and the work does not wait.
            let _ = listener.try_send((what.clone(), amount));
        }
    }

    /// Runs what may wait for the kernel or a disk on a thread that may.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Host) -> T + Send + 'static) -> T {
        let host = self.host.clone();
        match tokio::task::spawn_blocking(move || work(&host)).await {
            Ok(value) => value,
            // A panic goes on here, up to the actor, which reports it.
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        }
    }

    /// The error of an operation that was broken off.
    pub fn interrupted(&self) -> ApiError {
        let status = self.status();
        let doing = status.doing.map_or("request", |verb| verb.as_str());
        ApiError::failed(format!("zone {}: {doing}: interrupted by a halt", status.config.zone), None)
    }
}

/// Changes what is known of a zone; a change of its state is an event.
pub(super) fn change(host: &Host, status: &watch::Sender<Arc<Status>>, change: impl FnOnce(&mut Status)) {
    let mut moved = None;
    status.send_modify(|shared| {
        let mut next = Status::clone(shared);
        change(&mut next);
        if next.state != shared.state {
            moved = Some((shared.state, next.clone()));
        }
        *shared = Arc::new(next);
    });
    if let Some((from, now)) = moved {
        tracing::info!(zone = %now.config.zone, from = %from, to = %now.state, reason = now.reason, "state");
        let kind = EventKind::StateChanged { from, to: now.state, reason: now.reason };
        host.journal.note(Some(&now.config.zone), kind);
    }
}
