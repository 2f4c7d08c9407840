//! When a zone is online, and waiting until it is.
//!
//! ```text
//! it runs ─────────────────────────────┐
//! its program says READY=1 ─listener───┼─▶ monitor, which keeps it ──News──▶ every daemon that comes
//! its address answers ─this daemon ────┘
//! ```
//! The rule is of the boot's plan. Nothing here waits for what a zone does: an address is tried for a second at a time, by
//! a task of its own.

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use zoned_api::{ApiError, EventKind, State, Verb};

use super::{
    actor::Handle,
    request::{Answer, Step},
    status::{Run, Status},
    tether::{Seen, Tether},
};
use crate::{
    fault::whole,
    host::Host,
    monitor::protocol::Request,
    plan::online::{By, OnlinePlan},
};

/// How long an address may take to answer before it is tried again.
const ANSWER: Duration = Duration::from_secs(1);

/// Pauses between two tries of an address: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(500)];

/// How long somebody waits before told for what.
const SILENCE: Duration = Duration::from_secs(1);

/// By what a boot comes online, and what was seen of that last. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    plan: OnlinePlan,
    /// Why the last try of its address failed.
    tried: Arc<Mutex<Option<String>>>,
}

impl Rule {
    /// Of a boot's plan.
    pub fn new(plan: OnlinePlan) -> Self {
        Self { plan, tried: Arc::default() }
    }

    /// What a boot lacks to be online; nothing if it is.
    pub fn awaits(&self, seen: &Seen) -> Option<String> {
        if seen.online.since_ms.is_some() {
            return None;
        }
        let lacks = self.lacks();
        let last = match &self.plan.by {
            By::Running => None,
            By::Notify => seen.online.status.as_ref().map(|status| format!("it said last: {status}")),
            By::Port { .. } => self.tried().clone(),
        };
        Some(last.map_or_else(|| lacks.clone(), |last| format!("{lacks} ({last})")))
    }

    fn lacks(&self) -> String {
        match &self.plan.by {
            By::Running => "it does not run yet".into(),
            By::Notify => "it has not said READY=1 by sd_notify(3)".into(),
            By::Port { address } => format!("{address} does not answer"),
        }
    }

    fn tried(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that a boot which runs is known to be online once it is; that is an event.
pub(super) fn watch_over(host: Arc<Host>, status: &Status) {
    let (Some(run), zone) = (status.run.clone(), status.config.zone.clone()) else { return };
    tokio::spawn(async move {
        let come = |seen: &Seen| seen.online.since_ms.map(Some).or(seen.ended().map(|_| None));
        let since = tokio::select! {
            since = run.tether.until(come) => since,
            never = try_address(&run) => match never {},
        };
        if let Some(since) = since {
            let after_ms = since.saturating_sub(run.booted_ms);
            tracing::info!(%zone, after_ms, "online");
            host.journal.note(Some(&zone), EventKind::Online { after_ms });
        }
    });
}

/// Tries a zone's address, if that is the rule, and tells the monitor when it has answered.
async fn try_address(run: &Run) -> Infallible {
    let By::Port { address } = run.rule.plan.by else { return pending().await };
    let [mut pause, longest] = PAUSES;
    loop {
        match answers(address).await {
            Ok(()) => match run.tether.ask(&Request::Online, &[]).await {
                Ok(_) => return pending().await,
                Err(e) => tracing::warn!(monitor = run.tether.pid, "{}", whole(&e)),
            },
            Err(why) => *run.rule.tried() = Some(why),
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Whether a connection is taken. Nothing is said or read: what a zone does with it is nobody's concern.
async fn answers(address: SocketAddr) -> Result<(), String> {
    match timeout(ANSWER, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(whole(&e)),
        Err(_) => Err("no answer within a second".into()),
    }
}

/// Waits until a zone that runs is online, but not longer than `seconds` (what its plan says if none), and not beyond
/// the end of its boot.
pub async fn wait(
    zone: &Handle,
    seconds: Option<u32>,
    steps: mpsc::Sender<Step>,
) -> Result<Answer, ApiError> {
    let mut statuses = zone.status.clone();
    let status = statuses.borrow_and_update().clone();
    let Some(run) = status.run.clone().filter(|_| is_up(&status)) else { return Err(not_up(&status)) };
    let seconds = seconds.unwrap_or(run.rule.plan.timeout);
    tokio::select! {
        biased;
        since = run.tether.until(|seen| seen.online.since_ms) => Ok(online(&statuses.borrow(), &run, since)),
        error = over(&mut statuses, &run.tether) => Err(error),
        () = sleep(Duration::from_secs(seconds.into())) => Err(late(&statuses.borrow(), &run, seconds)),
        never = tell(&run, &steps) => match never {},
    }
}

/// Tells whoever waits for what, if it takes long enough to be asked.
async fn tell(run: &Run, steps: &mpsc::Sender<Step>) -> Infallible {
    sleep(SILENCE).await;
    // Nobody need read it.
    let _ = steps.try_send((format!("waiting to be online: {}", run.rule.lacks()), None));
    pending().await
}

fn is_up(status: &Status) -> bool {
    matches!(status.state, State::Running | State::Paused)
}

fn online(status: &Status, run: &Run, since: u64) -> Answer {
    let after = since.saturating_sub(run.booted_ms) as f64 / 1000.0;
    let note = match run.rule.plan.by {
        By::Running => "it is online as soon as it runs".into(),
        By::Notify | By::Port { .. } => format!("online {after:.1} s after its boot"),
    };
    Answer { state: Some(status.state), note: Some(note), session: None }
}

/// Waits until a boot is over, or about to be, and says how that came.
async fn over(statuses: &mut watch::Receiver<Arc<Status>>, tether: &Tether) -> ApiError {
    let same = |status: &Status| status.run.as_ref().is_some_and(|run| run.tether.boot == tether.boot);
    let left = statuses.wait_for(|status| !is_up(status) || !same(status)).await;
    match left {
        Ok(status) => ended(&status),
        // It is deleted, or this daemon ends.
        Err(_) => ApiError::failed("the zone is no more", None),
    }
}

fn ended(status: &Status) -> ApiError {
    let how = match (&status.reason, status.doing) {
        (Some(reason), _) => format!("it ended before it was online: {reason}"),
        (None, Some(Verb::Reboot)) => "it was rebooted before it was online".into(),
        (None, Some(Verb::Shutdown)) => "it was shut down before it was online".into(),
        (None, _) => "it was halted before it was online".into(),
    };
    ApiError::failed(format!("zone {}: {how}", status.config.zone), None)
}

fn not_up(status: &Status) -> ApiError {
    let (zone, state) = (&status.config.zone, status.state);
    let because = status.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let hint = format!("`zonectl boot --wait {zone}` boots it and waits");
    ApiError::failed(
        format!("zone {zone}: it is {state} and not on its way to be online{because}"),
        Some(hint),
    )
}

/// It runs on.
fn late(status: &Status, run: &Run, seconds: u32) -> ApiError {
    let (zone, state) = (&status.config.zone, status.state);
    let lacks = run.rule.awaits(&run.tether.seen()).unwrap_or_else(|| run.rule.lacks());
    let hint = format!(
        "`zonectl console --log {zone}` shows what it printed, `zonectl boot --wait {zone}` waits on"
    );
    ApiError::failed(format!("zone {zone}: {state}, but not online after {seconds} s: {lacks}"), Some(hint))
}
