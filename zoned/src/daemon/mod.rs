//! The daemon's life: what it needs before it serves, serving, and its end.
//!
//! ```text
//! root? ─▶ lock ─▶ folders ─▶ cgroups ─▶ bpffs, eBPF ─▶ take zones over ─▶ listen ─▶ READY ─▶ autoboot
//!                                                                            └── until SIGTERM or SIGINT
//! ```
//! Its end, however it comes, ends no zone. A clean one with no zone left also takes away what it made for all.

mod bpffs;
mod lock;
pub mod log;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::signal::unix::{SignalKind, signal};
use zoned_api::{EventKind, State};

use crate::{
    brand::Brands,
    cpu,
    ebpf::{self, EbpfError},
    events::Journal,
    fault::whole,
    host::{Host, Names},
    image::{ImageError, Images},
    metering::{self, Metering},
    mountinfo,
    network::{self, Network, Settings},
    options::Options,
    platform::{
        cgroup::{CgroupError, Tree},
        disks::{self, Disk},
    },
    server::{self, Daemon, ListenError},
    store::{Store, StoreError},
    zone::{autoboot::autoboot, limits, monitors::Monitors, recovery::recover, zones::Zones},
};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not root.
    #[error("zoned must be started by root")]
    NotRoot,
    /// Root without the power of root.
    #[error("zoned has no CAP_SYS_ADMIN here (in a container?), and can make no zones without")]
    NoSysAdmin,
    /// Another one has the run folder, the state folder or the group of all zones.
    #[error(
        "{folder}: another zoned works there already{pid}; give each its own --run-dir, --state-dir and --cgroup-name"
    )]
    Running {
        /// Which of them.
        folder: PathBuf,
        /// The other one, by its own word, if it is known: ` (pid 7)`.
        pid: String,
    },
    /// A file or folder.
    #[error("{path}: cannot {doing}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Where processes are grouped.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// What is kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The eBPF programs.
    #[error(transparent)]
    Ebpf(#[from] EbpfError),
    /// Images and the zones' data.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The brands that are built in.
    #[error(transparent)]
    Brand(#[from] brands::ProfileError),
    /// The control socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl StartError {
    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }
}

/// Runs until it is told to end.
pub fn run(options: Options) -> Result<(), StartError> {
    lock::require_root()?;
    // Whatever is made is root's alone, unless it says otherwise.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    make_folder(&options.run_dir)?;
    make_folder(&options.state_dir)?;
    let tree = Tree::discover(&options.cgroup_name)?;
    let folders = [lock::take(&options.run_dir)?, lock::take(&options.state_dir)?];
    let group = lock::take_group(tree.parent())?;
    let parent = tree.parent().to_owned();
    // One with zones in it stays: it is not empty.
    let host = prepare(&options, tree).inspect_err(|_| drop(fs::remove_dir(&parent)))?;
    let host = Arc::new(host);
    let mode = cpu::prepare();
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(StartError::io(&options.run_dir, "start threads for"))?;
    let served = runtime.block_on(serve(&options, host.clone()));
    // Whatever still waits for the kernel or a disk is left to the next daemon, like after a kill.
    runtime.shutdown_background();
    let empty = served?;
    if empty {
        host.network.close();
        host.metering.unload();
        cpu::unload(mode);
        host.tree.remove_parents();
        bpffs::unmount(&options.run_dir);
    }
    drop::<(File, [File; 2])>((group, folders));
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StartError::io(path, "make"))
}

/// Everything that needs no runtime. What may be missing or unreadable is looked at before the system is touched.
fn prepare(options: &Options, tree: Tree) -> Result<Host, StartError> {
    ebpf::embedded()?;
    let monitor = monitor(options)?;
    let brands = Brands::load(&options.config_dir.join("brands"))?;
    make_folder(&options.cache_dir)?;
    let store = Store::open(&options.state_dir)?;
    let images = Images::new(&options.state_dir, &options.cache_dir)?;
    let boot_id = Path::new("/proc/sys/kernel/random/boot_id");
    Ok(Host {
        boot_id: fs::read_to_string(boot_id).map_err(StartError::io(boot_id, "read"))?.trim().to_owned(),
        monitors: Monitors::new(monitor, &options.run_dir),
        hard_limits: hard_limits(),
        disks: disks(&options.state_dir),
        store,
        metering: metering(&tree, options)?,
        cpu: cpu::Keeper::new(options.cpu_backend.clone(), &options.state_dir),
        tree,
        images,
        brands,
        limits: limits::Keeper::default(),
        network: shared_network(options),
        journal: Journal::default(),
        names: Names::default(),
        unreadable: Default::default(),
        run_dir: options.run_dir.clone(),
        state_dir: options.state_dir.clone(),
    })
}

/// The disks below a state folder and below what sparse zones share.
fn disks(state_dir: &Path) -> Vec<Disk> {
    let mounts = mountinfo::mounts().unwrap_or_default();
    let below = |path| fs::canonicalize(path).map(|path| disks::below(&mounts, &path)).unwrap_or_default();
    let mut all = [below(state_dir), below(Path::new("/usr"))].concat();
    all.sort();
    all.dedup();
    all
}

/// The zones' parent groups, and the programs that meter what is in them. Leaves neither behind if that fails and
/// no zone of an earlier daemon needs them.
fn metering(tree: &Tree, options: &Options) -> Result<Metering, StartError> {
    let run_dir = &options.run_dir;
    let made = || -> Result<Metering, StartError> {
        tree.prepare(options.zones_shares)?;
        bpffs::mount(run_dir)?;
        Ok(Metering::open(run_dir, tree.parent())?)
    };
    made().inspect_err(|_| {
        let zones = fs::read_dir(run_dir.join("zones"));
        if zones.is_err() || zones.is_ok_and(|mut zones| zones.next().is_none()) {
            bpffs::unmount(run_dir);
            tree.remove_parents();
        }
    })
}

fn shared_network(options: &Options) -> Network {
    let settings = Settings {
        bridge: options.bridge.clone(),
        v4: options.network,
        v6: options.network6,
        uplinks: options.uplinks.clone(),
    };
    Network::new(settings, &options.state_dir, &options.run_dir)
}

/// The monitor to start for each zone.
fn monitor(options: &Options) -> Result<PathBuf, StartError> {
    let path = match &options.monitor {
        Some(path) => path.clone(),
        None => {
            let own = Path::new("/proc/self/exe");
            fs::read_link(own).map_err(StartError::io(own, "read"))?.with_file_name("zone-monitor")
        }
    };
    fs::canonicalize(&path).map_err(StartError::io(&path, "find"))
}

/// This process' hard limits by number of RLIMIT_*: a zone's processes begin with them. None if it may raise them.
fn hard_limits() -> std::collections::BTreeMap<u32, u64> {
    use rustix::process::Resource::{
        As, Core, Cpu, Data, Fsize, Locks, Memlock, Msgqueue, Nice, Nofile, Nproc, Rss, Rtprio, Rttime,
        Sigpending, Stack,
    };
    if lock::has_capability(lock::SYS_RESOURCE) {
        return Default::default();
    }
    let all = [
        As, Core, Cpu, Data, Fsize, Locks, Memlock, Msgqueue, Nice, Nofile, Nproc, Rss, Rtprio, Rttime,
        Sigpending, Stack,
    ];
    let hard = |resource| Some((resource as u32, rustix::process::getrlimit(resource).maximum?));
    all.into_iter().filter_map(hard).collect()
}

/// A zone takes four descriptors here. What a zone's own processes get is said by its plan.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("the number of open files stays at {:?}: {e}", limit.current);
    }
}

/// Serves until a signal comes. Returns whether no zone is left running.
async fn serve(options: &Options, host: Arc<Host>) -> Result<bool, StartError> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err(StartError::Io {
            path: options.run_dir.clone(),
            doing: "watch for signals",
            source: io::Error::other("no signal handler"),
        });
    };
    let zones = Zones::new(host.clone());
    let adopted = recover(&zones).await?;
    if let Err(e) = host.network.refresh() {
        tracing::error!("{}", whole(&e));
    }
    host.network.concerns().iter().for_each(|concern| tracing::warn!("{concern}"));
    host.journal.note(None, EventKind::DaemonStarted { adopted });
    let socket = options.socket.clone().unwrap_or_else(|| options.run_dir.join("zoned.sock"));
    let listener = server::listen(&socket)?;
    tracing::info!(socket = %socket.display(), adopted, "serving");
    let serving = tokio::spawn(server::serve(listener, Arc::new(Daemon { zones: zones.clone() })));
    if let Err(e) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!("systemd cannot be told: {}", whole(&e));
    }
    host.monitors.refill();
    tokio::spawn(metering::listen(host.clone()));
    tokio::spawn(network::watch(host.clone()));
    tokio::spawn(limits::watch(host.clone()));
    let steering = tokio::spawn(cpu::steer(host.clone()));
    let starter = zones.clone();
    tokio::spawn(async move { autoboot(&starter).await });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    serving.abort();
    steering.abort();
    // It may be at work on another thread.
    let _ = steering.await;
    // Nobody steers until the next daemon does.
    host.limits.steer_none(&host);
    let _ = fs::remove_file(&socket);
    let left =
        zones.all().iter().filter(|z| z.run.is_some() || z.doing.is_some() || z.state == State::Down).count();
    tracing::info!(zones_left_running = left, "ending");
    Ok(left == 0)
}
