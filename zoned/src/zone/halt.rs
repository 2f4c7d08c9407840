//! From running to installed: at once, by asking, because it ended by itself; and round again.

use std::time::Duration;

use tokio::time::timeout;
use zoned_api::{ApiError, State, report::Exit};

use super::{
    bring_up::{Until, bring_up},
    preflight,
    status::at_rest,
    tear_down::{in_words, tear_down},
    work::Work,
};
use crate::{
    monitor::protocol::{ExitRecord, Request},
    plan::Plan,
};

/// Stops a zone at once.
pub(super) async fn halt(work: &Work) -> Result<(), ApiError> {
    let reason = work.status().reason.clone().filter(|_| work.status().state == State::Down);
    work.enter(State::ShuttingDown, reason);
    let record = tear_down(work).await?;
    rest(work, record.exit, None).await;
    Ok(())
}

/// Asks a zone's init to stop, and halts the zone when it has, or has not in time. Returns what there is to say.
pub(super) async fn shut_down(work: &Work, seconds: Option<u32>) -> Result<Option<String>, ApiError> {
    let status = work.status();
    let seconds = match seconds {
        Some(seconds) => seconds,
        None => work.host.brands.stop_seconds(&status.config)?,
    };
    work.enter(State::ShuttingDown, None);
    let mut note = None;
    if let Some(run) = status.run.as_ref().filter(|_| status.state == State::Running) {
        work.step("waiting for its init to stop", None);
        let signal = stop_signal(work).await;
        if let Err(e) = run.tether.ask(&Request::Signal { signal }, &[]).await {
            note = Some(format!("its init could not be asked to stop ({e}), so it was halted"));
        } else {
            tokio::select! {
                ended = timeout(Duration::from_secs(seconds.into()), run.tether.ended()) => if ended.is_err() {
                    note = Some(format!("its init had not stopped after {seconds} s, so it was halted"));
                },
                // The halt that interrupts goes on from here.
                () = work.cancel.cancelled() => return Err(work.interrupted()),
            }
        }
    }
    let record = tear_down(work).await?;
    rest(work, record.exit, note.clone()).await;
    Ok(note)
}

/// Stops a zone, by asking if a time is given, and boots it again.
pub(super) async fn reboot(work: &Work, seconds: Option<u32>) -> Result<Option<String>, ApiError> {
    // A zone that could not come back is not stopped.
    let status = work.status();
    work.blocking(move |host| preflight::check(host, &status)).await?;
    let note = match seconds {
        Some(_) => shut_down(work, seconds).await?,
        None => halt(work).await.map(|()| None)?,
    };
    if work.cancel.is_cancelled() {
        return Err(work.interrupted());
    }
    work.enter(State::Installed, None);
    bring_up(work, Until::Running).await?;
    Ok(note)
}

/// Takes away a zone whose first process, or monitor, has ended by itself, and boots it again if that was a
/// reboot and `restart` allows it.
pub(super) async fn after_end(
    work: &Work,
    ended: Result<ExitRecord, ()>,
    restart: bool,
) -> Result<(), ApiError> {
    let word =
        |record: &Result<ExitRecord, ()>| record.as_ref().map_or("its monitor died".to_owned(), in_words);
    work.enter(State::ShuttingDown, Some(word(&ended)));
    let left = tear_down(work).await?;
    // The monitor's last word on the socket, or the one it left in a file.
    let record = ended.unwrap_or(left);
    let mut reason = in_words(&record);
    let again = record.exit == Exit::Rebooted;
    if again && !restart {
        reason = "it rebooted itself again and again; boot it by hand to try once more".into();
    }
    rest(work, record.exit, Some(reason)).await;
    if again && restart && !work.cancel.is_cancelled() {
        work.enter(State::Installed, None);
        bring_up(work, Until::Running).await?;
    }
    Ok(())
}

/// The zone rests again: installed, or what is kept of its root, which a panic may have left half made.
async fn rest(work: &Work, exit: Exit, reason: Option<String>) {
    let kept = reason.clone();
    work.keep_history(|history| (history.last_exit, history.reason) = (Some(exit), kept)).await;
    let (state, why) = at_rest(&work.status().record.root);
    work.end_in(state, why.or(reason));
}

/// Which signal asks the zone's init to stop everything: of the boot that runs, not of a configuration changed since.
async fn stop_signal(work: &Work) -> i32 {
    let uuid = work.status().uuid();
    let plan = work.blocking(move |host| Plan::load(&host.run_folder(&uuid))).await;
    plan.map_or(libc::SIGTERM, |plan| plan.process.stop_signal)
}
