//! Taking a boot away: derived from the zone's identity and its run folder, not from what bring-up remembers.
//!
//! Each step goes on after an error of the one before, all errors are reported, and all of it can be done again.
//! The run folder goes last, and only if nothing else is left: the next try is derived from it.

use std::{fs, io, time::Duration};

use tokio::time::timeout;
use uuid::Uuid;
use zoned_api::{ApiError, State, report::Exit};

use super::{run_record::RunRecord, work::Work};
use crate::{
    events::escape,
    fault::whole,
    host::Host,
    monitor::protocol::{ExitRecord, Phase},
    plan::{Identity, RunFolder},
};

/// How long a monitor may take to exit once its zone is empty.
const MONITOR_EXIT: Duration = Duration::from_secs(10);

/// Takes the boot down, with state `shutting-down` meanwhile and `down` if a step failed. Returns how the boot
/// ended; the caller says which state comes next.
pub(super) async fn tear_down(work: &Work) -> Result<ExitRecord, ApiError> {
    let status = work.status();
    let (uuid, identity) = (status.uuid(), status.identity());
    let mut problems = Vec::new();

    let killing = identity.clone();
    let killed = work.blocking(move |host| {
        host.limits.let_go(host, &killing);
        host.tree.kill(&killing.tag())
    });
    let killed = killed.await;
    match killed {
        // With processes left the monitor stays with them, for the next try.
        Err(e) => problems.push(whole(&e)),
        Ok(()) => {
            let cleared = work.blocking(move |host| clear(host, &identity));
            let over =
                status.run.as_ref().is_some_and(|run| matches!(run.tether.seen().phase, Phase::Ended(_)));
            problems.extend(if over {
                tokio::join!(end_monitor(work, uuid), cleared).1
            } else {
                // A builder that has not given birth yet is in the groups, and goes before its monitor does.
                end_monitor(work, uuid).await;
                cleared.await
            });
        }
    }
    let boot = status.history.boot;
    let (record, problems) = work.blocking(move |host| conclude(host, &uuid, boot, problems)).await;
    if problems.is_empty() {
        work.change(|status| status.run = None);
        return Ok(record);
    }
    let reason = problems.join("; ");
    work.enter(State::Down, Some(reason.clone()));
    let hint = "`zonectl halt` tries it again";
    Err(ApiError::failed(
        format!("zone {}: not all of it could be taken down: {reason}", status.config.zone),
        Some(hint.into()),
    ))
}

/// Waits until the monitor is gone; it goes by itself once its zone is empty, or is killed.
async fn end_monitor(work: &Work, uuid: Uuid) {
    if let Some(run) = &work.status().run {
        if timeout(MONITOR_EXIT, run.tether.gone()).await.is_err() {
            tracing::warn!(pid = run.tether.pid, "a monitor did not exit after its zone; killing it");
            run.tether.kill();
            run.tether.gone().await;
        }
        return;
    }
    // Left by an earlier daemon, and its socket did not answer.
    work.blocking(move |host| {
        let Ok(record) = RunRecord::load(&host.run_folder(&uuid).run()) else { return };
        if record.boot_id != host.boot_id {
            return;
        }
        if let Some(pidfd) = record.monitor.and_then(|process| process.kill()) {
            let limit = rustix::event::Timespec { tv_sec: MONITOR_EXIT.as_secs() as i64, tv_nsec: 0 };
            let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, Some(&limit));
        }
    })
    .await;
}

/// Removes what the kernel holds for a boot without processes. Returns what could not be.
fn clear(host: &Host, zone: &Identity) -> Vec<String> {
    let held = host.limits.end(host, &zone.uuid);
    let network = host.network.down(zone);
    let metering = host.metering.release(&zone.uuid).err().map(|e| format!("metering: {e}"));
    let cpus = host.limits.free_cpus(host, &zone.uuid, &zone.tag());
    let cpus = cpus.iter().map(|e| whole(e));
    let groups = host.tree.remove(&zone.tag());
    held.into_iter()
        .chain(cpus)
        .chain(network)
        .chain(metering)
        .chain(groups.iter().map(|e| whole(e)))
        .collect()
}

/// How a boot ended; takes its run folder away if there were no problems before.
fn conclude(host: &Host, uuid: &Uuid, boot: u64, mut problems: Vec<String>) -> (ExitRecord, Vec<String>) {
    let folder = host.run_folder(uuid);
    let unknown = ExitRecord { boot, exit: Exit::Unknown, failure: None };
    let record = last_word(&folder, boot).unwrap_or(unknown);
    if problems.is_empty() {
        match fs::remove_dir_all(&folder.0) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                problems.push(format!("{}: cannot be removed: {e}", folder.0.display()));
            }
            _ => {}
        }
    }
    (record, problems)
}

/// What the monitor of a boot wrote before it exited.
pub(super) fn last_word(folder: &RunFolder, boot: u64) -> Option<ExitRecord> {
    let record: ExitRecord = serde_json::from_slice(&fs::read(folder.exit()).ok()?).ok()?;
    (record.boot == boot).then_some(record)
}

/// How a boot ended, in words.
pub(super) fn in_words(record: &ExitRecord) -> String {
    if let Some(failure) = &record.failure {
        // Names in it may be the zone's choice.
        return escape(failure.as_bytes());
    }
    match record.exit {
        Exit::Exited { code: 0 } => "its first process ended".into(),
        Exit::Exited { code } => format!("its first process ended with code {code}"),
        Exit::Killed { signal } => format!("its first process was killed by signal {signal}"),
        Exit::PoweredOff => "it was powered off from inside".into(),
        Exit::Rebooted => "it was rebooted from inside".into(),
        Exit::Unknown => "its monitor died".into(),
    }
}
