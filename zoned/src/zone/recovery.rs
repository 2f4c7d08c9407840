//! What a new daemon finds of each zone, and what it does about it.
//!
//! ```text
//! no run folder                     nothing ran                          at rest
//! of an earlier life of the host    the host was restarted               cleared away, at rest
//! the monitor answers               it runs                              taken over as it is
//! it cannot be looked at            nobody knows (descriptors ran out)   left as it is, `down`
//! the monitor does not answer       it died while no daemon looked       killed, cleared away, at rest
//!     but left word of a reboot     the zone rebooted itself             … and booted again
//! ```

use std::sync::Arc;

use uuid::Uuid;
use zoned_api::{State, Verb, report::Exit};

use super::{
    online::{self, Rule},
    operation::{Task, Until},
    request::Arguments,
    run_record::RunRecord,
    status::{Run, Status},
    tear_down::last_word,
    tether::{Tether, TetherError},
    zones::Zones,
};
use crate::{
    fault::whole,
    host::Host,
    monitor::protocol::{ExitRecord, Phase},
    plan::Plan,
    store::{StoreError, Stored},
};

/// Starts the actors of all zones that are kept. Returns how many were found running.
pub async fn recover(zones: &Arc<Zones>) -> Result<u32, StoreError> {
    let host = &zones.host;
    let (kept, faults) = host.store.load()?;
    for fault in &faults {
        host.leave_out(whole(fault));
    }
    // Side by side: a monitor that hangs is waited for, and each other one meanwhile.
    let mut looks = Vec::new();
    for stored in kept {
        let Some(status) = restore(host, stored)? else { continue };
        let host = host.clone();
        looks.push(tokio::spawn(async move { find(&host, status).await }));
    }
    let mut running = 0;
    for look in looks {
        let (status, first) = look.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        let first = first.or_else(|| reboot(host, &status));
        running += u32::from(status.run.is_some());
        tracing::info!(zone = %status.config.zone, state = %status.state, "found");
        zones.start(status, first);
    }
    Ok(running)
}

/// Gives a zone its name, ids and addresses again; none if its name is another's.
fn restore(host: &Host, stored: Stored) -> Result<Option<Status>, StoreError> {
    let (name, uuid) = (stored.config.zone.clone(), stored.record.uuid);
    if host.names.claim(&name, uuid).is_err() {
        let why =
            format!("zone {uuid}: its name {name} is that of another zone; change one in its zone.yaml");
        host.leave_out(why);
        return Ok(None);
    }
    let ids = host.store.ids.of(&uuid)?;
    if let Err(e) = host.network.restore(uuid, &stored.config, &host.store.folder(&uuid)) {
        // Told again when it is booted.
        tracing::error!(zone = %name, "{}", whole(&e));
    }
    Ok(Some(Status::at_rest(stored, ids)))
}

/// Goes on with a reboot that an administrator asked for. (Where the boot has ended meanwhile, what comes after its
/// end is to boot again.)
fn reboot(host: &Host, status: &Status) -> Option<Task> {
    let rebooting = status.history.rebooting(&host.boot_id)?;
    let timeout = rebooting.timeout;
    matches!(status.state, State::Running | State::Installed)
        .then_some(Task::Move(Verb::Reboot, Arguments { from: None, timeout }))
}

/// Looks at what is left of a zone's last boot.
async fn find(host: &Arc<Host>, mut status: Status) -> (Status, Option<Task>) {
    let folder = host.run_folder(&status.uuid());
    let record = match RunRecord::load(&folder.run()) {
        Ok(record) => record,
        Err(e) if is_unknown(&e) => return left_alone(status, &e),
        Err(_) => {
            let (host, uuid) = (host.clone(), status.uuid());
            // Waits for processes to die, so not on a thread that others need.
            let swept = tokio::task::spawn_blocking(move || sweep(&host, &uuid)).await;
            status.history.boot = status.history.boot.max(swept.unwrap_or(0));
            return (status, None);
        }
    };
    // The number on disk may be older than the boot, after a crash of the host or of the disk.
    status.history.boot = status.history.boot.max(record.boot);
    if record.boot_id != host.boot_id {
        status.state = State::ShuttingDown;
        let end = ExitRecord {
            boot: record.boot,
            exit: Exit::Unknown,
            failure: Some("the host was restarted while it ran".into()),
        };
        return (status, Some(Task::End { end: Ok(end), restart: false }));
    }
    match Tether::connect(&folder.0).await {
        Ok(tether) if tether.boot == status.history.boot => adopt(host, status, tether, &record),
        Ok(tether) => {
            tracing::error!(zone = %status.config.zone, "its monitor is of boot {}, not {}", tether.boot, status.history.boot);
            status.run = Some(Run { tether, booted_ms: record.booted_ms, rule: Rule::default() });
            status.state = State::ShuttingDown;
            (status, Some(Task::End { end: Err(()), restart: false }))
        }
        Err(e) if is_want(&e) => left_alone(status, &e),
        Err(e) => {
            if !matches!(e, TetherError::Connect(_) | TetherError::Ended) {
                tracing::error!(zone = %status.config.zone, "{}", whole(&e));
            }
            status.state = State::ShuttingDown;
            let end = last_word(&folder, record.boot).ok_or(());
            (status, Some(Task::End { end, restart: true }))
        }
    }
}

/// Clears away whatever bears a zone's UUID though no boot of it is recorded. Returns the highest number seen.
fn sweep(host: &Host, uuid: &Uuid) -> u64 {
    let mut highest = 0;
    let ours = |tag: &str| tag.strip_prefix(&format!("{uuid}."))?.parse::<u64>().ok();
    let mut tags: Vec<_> =
        host.tree.existing().into_iter().map(|(_, tag)| tag).filter(|t| ours(t).is_some()).collect();
    tags.sort();
    tags.dedup();
    for tag in tags {
        highest = highest.max(ours(&tag).unwrap_or(0));
        let uncapped = host.tree.uncap_io(&tag).err().map(|e| whole(&e));
        let freed = host.limits.free_cpus(host, uuid, &tag);
        let freed = freed.iter().map(|e| whole(e));
        uncapped.into_iter().chain(freed).for_each(|e| tracing::error!("{e}"));
        let problems = host.tree.kill(&tag).err().into_iter().chain(host.tree.remove(&tag));
        problems.for_each(|e| tracing::error!("{}", whole(&e)));
    }
    let problems = host.limits.end(host, uuid).into_iter().chain(host.metering.release(uuid).err());
    problems.for_each(|e| tracing::error!("{e}"));
    // There is none, or nothing in it that anybody needs.
    let _ = std::fs::remove_dir_all(host.run_folder(uuid).0);
    highest
}

/// Takes over a boot whose monitor lives.
fn adopt(host: &Arc<Host>, mut status: Status, tether: Tether, record: &RunRecord) -> (Status, Option<Task>) {
    let (seen, identity) = (tether.seen(), status.identity());
    let metered = host.tree.id(&identity.tag()).map_err(|e| whole(&e));
    if let Err(e) = metered.and_then(|id| host.metering.adopt(&identity, id, &status.config)) {
        tracing::error!(zone = %status.config.zone, "it runs unmetered: {e}");
    }
    host.limits.adopt(host, &identity, &status.config);
    let plan = Plan::load(&host.run_folder(&status.uuid()));
    if let Some(plan) = &plan {
        let groups = host.tree.zone(&identity.tag());
        if let Err(e) = host.network.adopt(&identity, &plan.network, &host.metering, &groups) {
            tracing::error!(zone = %status.config.zone, "its network stays as it was: {}", whole(&e));
        }
    }
    let frozen = host.tree.is_frozen(&identity.tag());
    let (state, first) = match seen.phase {
        Phase::Building | Phase::Ready if record.straight => {
            (State::Installed, Some(Task::Follow(Until::Running)))
        }
        Phase::Building => (State::Installed, Some(Task::Follow(Until::Ready))),
        Phase::Ready => (State::Ready, None),
        Phase::Running if frozen => (State::Paused, None),
        // The actor sees by itself that it has ended.
        Phase::Running | Phase::Ended(_) => (State::Running, None),
    };
    (status.state, status.reason) = (state, None);
    let rule = plan.map(|plan| Rule::new(plan.online)).unwrap_or_default();
    status.run = Some(Run { tether, booted_ms: record.booted_ms, rule });
    // What an earlier daemon knew of is no event; a boot that is followed sees to it itself.
    if seen.online.since_ms.is_none() && matches!(state, State::Running | State::Paused) {
        online::watch_over(host.clone(), &status);
    }
    (status, first)
}

/// Nothing is done to a zone that may well run: a daemon that lacks nothing takes it over.
fn left_alone(mut status: Status, why: &(dyn std::error::Error + 'static)) -> (Status, Option<Task>) {
    let why = format!("zoned could not take it over ({}); mend that and start zoned again", whole(why));
    tracing::error!(zone = %status.config.zone, "{why}");
    (status.state, status.reason) = (State::Down, Some(why));
    (status, None)
}

/// Whether there may be a boot that this daemon cannot read of.
fn is_unknown(error: &StoreError) -> bool {
    match error {
        StoreError::Io { source, .. } => source.kind() != std::io::ErrorKind::NotFound,
        StoreError::Newer { .. } => true,
        _ => false,
    }
}

/// Whether this process had too few descriptors, or the host too little memory, to reach the monitor.
fn is_want(error: &TetherError) -> bool {
    let (TetherError::Connect(e) | TetherError::Watch(_, e)) = error else { return false };
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS))
}
