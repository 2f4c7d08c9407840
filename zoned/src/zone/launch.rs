//! The way up as far as it needs no waiting: number, run folder, groups, slot, plan, and a monitor that starts.
//!
//! All of it is for a thread that may wait for the kernel. Nothing is taken back on an error: tear-down finds it.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Child,
};

use brands::detect::{InitCheck, InitKind, detect};

use super::{
    bring_up::Until,
    limits::BeginError,
    monitors::Waiting,
    run_record::{Process, RunRecord},
    status::Status,
    tether::{self, TetherError},
};
use crate::{
    fault::whole,
    host::Host,
    image::ImageError,
    network::NetworkError,
    plan::{self, Cgroups, Identity, Plan, RunFolder, online::OnlinePlan},
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
    /// Its limits, or the volume that bounds what it writes.
    #[error(transparent)]
    Limit(#[from] BeginError),
    /// Its slot in the eBPF programs, or a device.
    #[error("{0}")]
    Metering(String),
    /// Its root.
    #[error(transparent)]
    Root(#[from] ImageError),
    /// The plan cannot be made.
    #[error("{0}")]
    Plan(String),
    /// Its network.
    #[error(transparent)]
    Network(#[from] NetworkError),
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
    fn folder(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Folder { path, doing, source }
    }
}

/// A monitor that has begun.
#[derive(Debug)]
pub(super) struct Launched {
    /// Its process.
    pub(super) monitor: Child,
    /// When that was, milliseconds since the epoch.
    pub(super) booted_ms: u64,
    /// By what the zone comes online.
    pub(super) online: OnlinePlan,
}

/// Everything up to a monitor that has begun.
pub(super) fn launch(host: &Host, status: &Status, until: Until) -> Result<Launched, BootError> {
    let (identity, folder) = (status.identity(), host.run_folder(&status.uuid()));
    host.limits.can_begin(host, &identity, &status.config)?;
    make_folder(&folder)?;
    let unstarted = |source| BootError::Monitor { path: host.monitors.program().to_owned(), source };
    let monitor = host.monitors.take().map_err(unstarted)?;
    let mut record = RunRecord::new(&host.boot_id, identity.boot, until == Until::Running);
    record.monitor = Process::of(monitor.pid());
    let begun = record.save(&folder.run()).map_err(BootError::from);
    // One that waits for its interfaces is let go on when they are there.
    let straight = record.straight && !status.config.has_links();
    let begun = begun.and_then(|()| prepare(host, status, identity, &folder));
    match begun.and_then(|plan| begin(&monitor, &folder, straight).map(|()| plan.online)) {
        Ok(online) => Ok(Launched { monitor: monitor.released(), booted_ms: record.booted_ms, online }),
        Err(e) => {
            monitor.end();
            Err(e)
        }
    }
}

fn begin(monitor: &Waiting, folder: &RunFolder, straight: bool) -> Result<(), BootError> {
    let listener = tether::listen(&folder.0).map_err(BootError::folder(&folder.control(), "listen on"))?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(folder.log());
    let log = log.map_err(BootError::folder(&folder.log(), "open"))?;
    monitor.begin(folder, straight, &listener, log).map_err(|_| TetherError::Ended.into())
}

/// What the monitor needs before it begins: groups, slot, plan.
fn prepare(host: &Host, status: &Status, identity: Identity, folder: &RunFolder) -> Result<Plan, BootError> {
    let tag = identity.tag();
    let cgroups = host.tree.create(&tag, status.ids)?;
    tracing::debug!(zone = %identity.name, "groups are made");
    host.images.grow(identity.uuid, status.config.root.quota)?;
    let dataset = host.images.dataset(identity.uuid);
    host.limits.begin(host, &identity, &status.config, &dataset)?;
    let id = host.tree.id(&tag)?;
    host.metering.assign(&identity, id, &status.config).map_err(BootError::Metering)?;
    tracing::debug!(zone = %identity.name, "it is metered");
    let name = identity.name.clone();
    let plan = make_plan(host, status, identity, cgroups, folder)?;
    let counted = host.network.count(&status.uuid(), &plan.network, &host.metering, &host.tree.zone(&tag));
    counted.map_err(NetworkError::from)?;
    let data = serde_json::to_vec(&plan).map_err(io::Error::from);
    data.and_then(|data| atomic::write(&folder.plan(), &data, atomic::Keep::ThroughExit))
        .map_err(BootError::folder(&folder.plan(), "write"))?;
    tracing::debug!(zone = %name, "the plan is written");
    Ok(plan)
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
    let network = host.network.plan(&identity, &status.config)?;
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
        network,
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
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    make(&folder.0).map_err(BootError::folder(&folder.0, "make"))?;
    make(&folder.assembly()).map_err(BootError::folder(&folder.assembly(), "make"))
}
