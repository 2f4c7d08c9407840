//! From installed to running: number, run folder, groups, slot, plan, monitor.
//!
//! ```text
//! zone-monitor, waiting ─▶ run.json ─▶ cgroups ─▶ slot ─▶ plan.json ─▶ control.sock ─▶ Building ─▶ Ready ─▶ Running
//!                             └── from here on tear-down finds all that was made, whoever dies
//! ```
//! Nothing is forced to a disk and nothing is waited for by the clock. If a step fails all is torn down again and
//! the zone is installed, with the reason.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use zoned_api::{ApiError, State};

use super::{
    first,
    launch::{BootError, Launched, launch},
    online::{self, Rule},
    preflight,
    status::{Run, Status},
    tear_down::{in_words, last_word, tear_down},
    tether::{Seen, Tether, TetherError},
    work::Work,
};
use crate::{
    fault::whole,
    host::Host,
    monitor::protocol::{Phase, Request},
    network::NetworkError,
    plan::Plan,
};

/// How long after a boot the next one's monitor is started: out of the way of what the zone begins with.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The first process stands before its exec.
    Ready,
    /// It runs.
    Running,
}

/// Brings a zone up from `installed`.
pub(super) async fn bring_up(work: &Work, until: Until) -> Result<(), ApiError> {
    // Kept in the run folder until the boot ends: a boot writes to no disk.
    work.change(|status| status.history.boot += 1);
    let status = work.status();
    work.step("assembling the zone", None);
    let launched = work.blocking(move |host| launch(host, &status, until)).await;
    let risen = match launched {
        Ok(launched) => rise(work, launched, until).await,
        Err(e) => Err(e),
    };
    let host = work.host.clone();
    tokio::spawn(async move {
        sleep(AFTERWARDS).await;
        drop(tokio::task::spawn_blocking(move || host.monitors.refill()));
    });
    settle(work, risen).await
}

/// Goes on with a boot that an earlier daemon began.
pub(super) async fn go_on(work: &Work, until: Until) -> Result<(), ApiError> {
    let risen = match work.status().run.clone() {
        Some(run) => rise_on(work, &run.tether, until).await,
        None => Err(TetherError::Ended.into()),
    };
    settle(work, risen).await
}

/// Goes on from `ready`.
pub(super) async fn release(work: &Work) -> Result<(), ApiError> {
    let Some(run) = work.status().run.clone() else {
        return settle(work, Err(TetherError::Ended.into())).await;
    };
    let released = async {
        connect(work, &run.tether).await?;
        go(&run.tether).await?;
        follow(work, &run.tether, Until::Running).await
    };
    settle(work, released.await).await
}

/// Lets the first process run.
async fn go(tether: &Tether) -> Result<(), BootError> {
    match tether.ask(&Request::Boot, &[]).await {
        // The monitor may be gone before it answers: if what it ran ended at once, and if that could not be executed.
        // Which of the two it was comes with the end.
        Ok(_) | Err(TetherError::Ended) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Gives the zone its interfaces, as soon as its first process is born.
async fn connect(work: &Work, tether: &Tether) -> Result<(), BootError> {
    let identity = work.status().identity();
    let folder = work.host.run_folder(&identity.uuid);
    let plan = work.blocking(move |_| Plan::load(&folder)).await;
    let Some(network) = plan.map(|plan| plan.network).filter(|network| !network.interfaces.is_empty()) else {
        return Ok(());
    };
    let born = |seen: &Seen| match seen.init {
        Some(pid) if seen.phase == Phase::Building || seen.phase == Phase::Ready => Some(Some(pid)),
        _ => (seen.gone || !matches!(seen.phase, Phase::Building | Phase::Ready)).then_some(None),
    };
    let birth = async {
        tokio::select! {
            first = tether.until(born) => Ok(first),
            () = work.cancel.cancelled() => Err(BootError::Interrupted),
        }
    };
    let boot = Arc::new((identity, network));
    let shared = boot.clone();
    // What all zones share is made while the monitor builds this one.
    let (prepared, first) =
        tokio::join!(work.blocking(move |host| host.network.prepare(&shared.0, &shared.1)), birth);
    prepared?;
    // One that has ended already says so itself.
    let Some(pid) = first? else { return Ok(()) };
    let connected = work.blocking(move |host| host.network.up(&boot.0, &boot.1, pid, &host.metering)).await;
    tracing::debug!("it is connected");
    match connected {
        Err(NetworkError::Gone) => Ok(()),
        other => Ok(other?),
    }
}

/// Connects the zone, and follows it.
async fn rise_on(work: &Work, tether: &Tether, until: Until) -> Result<(), BootError> {
    connect(work, tether).await?;
    follow(work, tether, until).await
}

/// After a failure: nothing is left, and the zone says why.
async fn settle(work: &Work, risen: Result<(), BootError>) -> Result<(), ApiError> {
    let Err(error) = risen else { return Ok(()) };
    let status = work.status();
    let why = whole(&error);
    work.change(|status| status.state = State::ShuttingDown);
    tear_down(work).await?;
    work.keep_history(|history| history.reason = Some(why.clone())).await;
    work.end_in(State::Installed, Some(why.clone()));
    let zone = &status.config.zone;
    let seen = status.clone();
    let hint = work.blocking(move |host| hint(host, &seen)).await;
    Err(ApiError::failed(format!("zone {zone}: cannot boot: {why}"), hint))
}

/// What can be done about a boot that failed, as far as the configuration tells.
fn hint(host: &Host, status: &Status) -> Option<String> {
    let missing = preflight::missing(&status.config).into_iter().next();
    let missing =
        missing.map(|why| format!("put it there, or change the configuration with `zonectl set` ({why})"));
    missing.or_else(|| first::fault(host, status).map(|_| first::hint(&status.config.zone)))
}

async fn rise(work: &Work, launched: Launched, until: Until) -> Result<(), BootError> {
    let Launched { monitor: mut child, booted_ms, online } = launched;
    let folder = work.host.run_folder(&work.status().uuid());
    let tether = match Tether::connect(&folder.0).await {
        Ok(tether) => tether,
        Err(e) => {
            let boot = work.status().history.boot;
            let (word, log) = work
                .blocking(move |_| {
                    let _ = child.kill();
                    let _ = child.wait();
                    (last_word(&folder, boot), std::fs::read(folder.log()).unwrap_or_default())
                })
                .await;
            // It may have failed before it was talked to.
            if let Some(record) = word {
                return Err(BootError::Isolation(in_words(&record)));
            }
            tracing::warn!("a monitor could not be talked to; its log: {}", log.escape_ascii());
            return Err(e.into());
        }
    };
    tracing::debug!(monitor = tether.pid, "the monitor answers");
    work.change(|status| {
        status.run = Some(Run { tether: tether.clone(), booted_ms, rule: Rule::new(online) })
    });
    if work.status().config.has_links() {
        connect(work, &tether).await?;
    }
    follow(work, &tether, until).await
}

/// Follows a boot until it has come as far as it should, and shows how far it has.
async fn follow(work: &Work, tether: &Tether, until: Until) -> Result<(), BootError> {
    loop {
        let state = work.status().state;
        let come = |seen: &Seen| match (&seen.phase, seen.gone) {
            (Phase::Running, _) => Some(Ok(State::Running)),
            (Phase::Ready, false) if state != State::Ready => Some(Ok(State::Ready)),
            // It ran, and what it ran was done before anybody looked.
            (Phase::Ended(record), _) if record.failure.is_none() && until == Until::Running => {
                Some(Ok(State::Running))
            }
            (Phase::Ended(record), _) => Some(Err(BootError::Isolation(in_words(record)))),
            (_, true) => Some(Err(TetherError::Ended.into())),
            _ => None,
        };
        let reached = tokio::select! {
            reached = tether.until(come) => reached?,
            () = work.cancel.cancelled() => return Err(BootError::Interrupted),
        };
        if reached == State::Running {
            online::watch_over(work.host.clone(), &work.status());
        }
        if reached == State::Running || until == Until::Ready {
            work.end_in(reached, None);
            return Ok(());
        }
        work.enter(reached, None);
        // It did not go on by itself, because it waited for its interfaces.
        go(tether).await?;
    }
}
