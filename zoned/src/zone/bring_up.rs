//! From installed to running: number, run folder, groups, slot, plan, monitor.
//!
//! ```text
//! run.json ─▶ cgroups ─▶ slot ─▶ plan.json ─▶ control.sock ─▶ zone-monitor ─▶ Building ─▶ Ready ─▶ Running
//!    └── from here on tear-down finds all that was made, whoever dies ──────┘
//! ```
//! Nothing is forced to a disk and nothing is waited for by the clock. If a step fails all is torn down again and
//! the zone is installed, with the reason.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use brands::detect::{InitCheck, InitKind, detect};
use zoned_api::{ApiError, State};

use super::{
    run_record::{Process, RunRecord},
    status::{Run, Status},
    tear_down::{in_words, tear_down},
    tether::{self, Seen, Tether, TetherError},
    work::Work,
};
use crate::{
    fault::whole,
    host::Host,
    image::ImageError,
    monitor::protocol::{Phase, Request},
    plan::{self, Cgroups, Identity, Plan, RunFolder},
    platform::cgroup::CgroupError,
    store::{StoreError, atomic},
};

/// What can go wrong on the way up.
#[derive(Debug, thiserror::Error)]
pub(super) enum BootError {
    /// The run folder.
    #[error("{path}: cannot {doing}")]
    Folder {
        /// What was worked on.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Something kept of the zone.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its groups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its slot in the eBPF programs, or a device.
    #[error("{0}")]
    Metering(String),
    /// Its root.
    #[error(transparent)]
    Root(#[from] ImageError),
    /// The plan cannot be made.
    #[error("{0}")]
    Plan(String),
    /// The monitor could not be started.
    #[error("{path}: cannot be started")]
    Monitor {
        /// The program.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The monitor could not be talked to.
    #[error(transparent)]
    Tether(#[from] TetherError),
    /// The way into isolation failed; the monitor's own words.
    #[error("{0}")]
    Isolation(String),
    /// A halt came in between.
    #[error("interrupted by a halt")]
    Interrupted,
}

impl BootError {
    fn folder(path: &std::path::Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Folder { path, doing, source }
    }
}

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
    work.keep_history(|history| history.boot += 1).await;
    let status = work.status();
    work.step("assembling the zone", None);
    let launched = work.blocking(move |host| launch(host, &status, until)).await;
    let risen = match launched {
        Ok((child, booted_ms)) => rise(work, child, booted_ms, until).await,
        Err(e) => Err(e),
    };
    settle(work, risen).await
}

/// Goes on with a boot that an earlier daemon began.
pub(super) async fn go_on(work: &Work, until: Until) -> Result<(), ApiError> {
    let risen = match work.status().run.clone() {
        Some(run) => follow(work, &run.tether, until).await,
        None => Err(TetherError::Ended.into()),
    };
    settle(work, risen).await
}

/// Goes on from `ready`.
pub(super) async fn release(work: &Work) -> Result<(), ApiError> {
    let Some(run) = work.status().run.clone() else {
        return settle(work, Err(TetherError::Ended.into())).await;
    };
    let tether = &run.tether;
    let asked = tether.ask(&Request::Boot, &[]).await.map(drop);
    let risen = match asked {
        // The words with which the first process could not be executed come with its end.
        Ok(()) | Err(TetherError::Ended | TetherError::Refused(_)) => {
            follow(work, tether, Until::Running).await.and_then(|()| asked.map_err(BootError::from))
        }
        Err(e) => Err(e.into()),
    };
    settle(work, risen).await
}

/// After a failure: nothing is left, and the zone says why.
async fn settle(work: &Work, risen: Result<(), BootError>) -> Result<(), ApiError> {
    let Err(error) = risen else { return Ok(()) };
    let status = work.status();
    let why = whole(&error);
    work.change(|status| status.state = State::ShuttingDown);
    tear_down(work).await?;
    work.keep_history(|history| history.reason = Some(why.clone())).await;
    work.enter(State::Installed, Some(why.clone()));
    Err(ApiError::failed(format!("zone {}: cannot boot: {why}", status.config.zone), None))
}

/// Everything up to a running monitor.
fn launch(host: &Host, status: &Status, until: Until) -> Result<(Child, u64), BootError> {
    let (identity, folder) = (status.identity(), host.run_folder(&status.uuid()));
    make_folder(&folder)?;
    let mut record = RunRecord::new(&host.boot_id, identity.boot, until == Until::Running);
    record.save(&folder.run())?;
    let tag = identity.tag();
    let cgroups = host.tree.create(&tag, status.ids)?;
    tracing::debug!(zone = %identity.name, "groups are made");
    let id = host.tree.id(&tag)?;
    host.metering.assign(&identity, id, &status.config).map_err(BootError::Metering)?;
    tracing::debug!(zone = %identity.name, "it is metered");
    let name = identity.name.clone();
    let plan = make_plan(host, status, identity, cgroups, &folder)?;
    let data = serde_json::to_vec(&plan).map_err(io::Error::from);
    data.and_then(|data| atomic::write(&folder.plan(), &data, atomic::Keep::ThroughExit))
        .map_err(BootError::folder(&folder.plan(), "write"))?;
    tracing::debug!(zone = %name, "the plan is written");
    let child = spawn_monitor(host, &folder, until)?;
    tracing::debug!(zone = %name, monitor = child.id(), "the monitor is started");
    record.monitor = Process::of(child.id());
    record.save(&folder.run())?;
    Ok((child, record.booted_ms))
}

fn make_plan(
    host: &Host,
    status: &Status,
    identity: Identity,
    cgroups: Cgroups,
    run: &RunFolder,
) -> Result<Plan, BootError> {
    let (profile, confinement) =
        host.brands.confinement(&status.config).map_err(|e| BootError::Plan(e.to_string()))?;
    let uuid = status.uuid();
    let plan = plan::build::plan(&plan::build::Inputs {
        config: &status.config,
        identity,
        ids: status.ids,
        profile: &profile,
        confinement,
        init_kind: init_kind(host, status)?,
        lowers: host.images.lowers(uuid)?,
        dataset: host.images.dataset(uuid),
        cgroups,
        run,
        console_log: host.store.console_log(&uuid),
        hard_limits: &host.hard_limits,
    });
    plan.map_err(|e| BootError::Plan(whole(&e)))
}

/// What the init of the zone's root is now; its packages may have brought another one since it was installed.
fn init_kind(host: &Host, status: &Status) -> Result<InitKind, BootError> {
    if status.config.root.sparse {
        return Ok(InitKind::Unknown);
    }
    let view = host.images.view(status.uuid(), false)?;
    let path = status.config.process.init.as_deref().unwrap_or("/sbin/init");
    Ok(match detect(&view, path).init {
        InitCheck::Ok { kind, .. } => kind,
        _ => InitKind::Unknown,
    })
}

fn make_folder(folder: &RunFolder) -> Result<(), BootError> {
    let make = |path: &std::path::Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    make(&folder.0).map_err(BootError::folder(&folder.0, "make"))?;
    make(&folder.assembly()).map_err(BootError::folder(&folder.assembly(), "make"))
}

fn spawn_monitor(host: &Host, folder: &RunFolder, until: Until) -> Result<Child, BootError> {
    let listener = tether::listen(&folder.0).map_err(BootError::folder(&folder.control(), "listen on"))?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(folder.log());
    let log = log.map_err(BootError::folder(&folder.log(), "open"))?;
    let errors = log.try_clone().map_err(BootError::folder(&folder.log(), "open"))?;
    let mut command = Command::new(&host.monitor);
    command.arg(&folder.0).env_clear().current_dir("/");
    if until == Until::Running {
        command.arg("--boot");
    }
    command.stdin(Stdio::from(listener)).stdout(log).stderr(errors);
    command.spawn().map_err(|source| BootError::Monitor { path: host.monitor.clone(), source })
}

async fn rise(work: &Work, mut child: Child, booted_ms: u64, until: Until) -> Result<(), BootError> {
    let folder = work.host.run_folder(&work.status().uuid());
    let tether = match Tether::connect(&folder.0).await {
        Ok(tether) => tether,
        Err(e) => {
            let log = work
                .blocking(move |_| {
                    let _ = child.kill();
                    let _ = child.wait();
                    std::fs::read(folder.log()).unwrap_or_default()
                })
                .await;
            tracing::warn!("a monitor could not be talked to; its log: {}", log.escape_ascii());
            return Err(e.into());
        }
    };
    tracing::debug!(monitor = tether.pid, "the monitor answers");
    work.change(|status| status.run = Some(Run { tether: tether.clone(), booted_ms }));
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
        work.enter(reached, None);
        if reached == State::Running || until == Until::Ready {
            return Ok(());
        }
    }
}
