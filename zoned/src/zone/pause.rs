//! Freezing and thawing a zone, by its cgroup2 folder: no process of it can tell or prevent it.

use zoned_api::{ApiError, State};

use super::work::Work;
use crate::fault::whole;

/// Freezes every process of the zone. What cannot be frozen in time leaves it running.
pub(super) async fn pause(work: &Work) -> Result<(), ApiError> {
    freeze(work, true).await?;
    work.enter(State::Paused, None);
    Ok(())
}

/// Thaws it.
pub(super) async fn resume(work: &Work) -> Result<(), ApiError> {
    freeze(work, false).await?;
    work.enter(State::Running, None);
    Ok(())
}

async fn freeze(work: &Work, frozen: bool) -> Result<(), ApiError> {
    let status = work.status();
    let tag = status.identity().tag();
    let done = work.blocking(move |host| {
        host.tree.freeze(&tag, frozen).inspect_err(|_| {
            // Half a freeze is none.
            let _ = if frozen { host.tree.freeze(&tag, false) } else { Ok(()) };
        })
    });
    done.await.map_err(|e| ApiError::failed(format!("zone {}: {}", status.config.zone, whole(&e)), None))
}
