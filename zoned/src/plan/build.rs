//! From configuration, brand and identity to a [`Plan`]: pure, and tested as such.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use brands::{
    CapSet, Profile,
    detect::InitKind,
    profile::{MaskKind, MountFlag},
};
use zoned_api::{
    ZoneConfig,
    config::{Fs, FsOption},
};

use super::{
    Cgroups, ConsolePlan, Dataset, IdRange, Identity, Init, Link, Mask, Mount, MountFlags, Plan, ProcessPlan,
    Provided, RootPlan, RunFolder, VERSION, network::NetworkPlan, online::OnlinePlan,
};

/// Bytes of console output kept, twice (the log and its older generation).
const CONSOLE_LOG: u64 = 1 << 20;

/// What bounds a zone's processes; the same for all zones of one brand and `limitpriv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Privileges.
    pub capabilities: CapSet,
    /// The system-call filter, an array of `struct sock_filter`.
    pub filter: Vec<u8>,
}

/// All that a plan is made of.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The zone's configuration.
    pub config: &'a ZoneConfig,
    /// Which zone, which boot.
    pub identity: Identity,
    /// Its ids.
    pub ids: IdRange,
    /// Its brand.
    pub profile: &'a Profile,
    /// What bounds its processes.
    pub confinement: Confinement,
    /// What kind of init its root has.
    pub init_kind: InitKind,
    /// Layers, top first.
    pub lowers: Vec<PathBuf>,
    /// Its dataset.
    pub dataset: Dataset,
    /// Its groups.
    pub cgroups: Cgroups,
    /// Its run folder.
    pub run: &'a RunFolder,
    /// Its console's log.
    pub console_log: PathBuf,
    /// The host's own hard resource limits, by number of RLIMIT_*: without CAP_SYS_RESOURCE none can be exceeded.
    pub hard_limits: &'a BTreeMap<u32, u64>,
    /// Its network.
    pub network: NetworkPlan,
}

/// Why there is no plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A shared folder would lie under something the zone mounts itself later.
    #[error(
        "fs: {target} would be covered by the {by} the brand mounts at {over}; choose a target outside of it"
    )]
    Covered {
        /// Target of the shared folder.
        target: String,
        /// File system that covers it.
        by: String,
        /// Where that is mounted.
        over: String,
    },
}

/// Makes the plan of one boot.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, PlanError> {
    let Inputs { config, profile, .. } = inputs;
    check(config, profile)?;
    Ok(Plan {
        version: VERSION,
        zone: inputs.identity.clone(),
        ids: inputs.ids,
        cgroups: inputs.cgroups.clone(),
        root: RootPlan {
            lowers: inputs.lowers.clone(),
            dataset: inputs.dataset.clone(),
            assembly: inputs.run.assembly(),
        },
        provided: provided(inputs),
        mounts: profile.mounts.iter().map(|m| mount(m, inputs.network.shared)).collect(),
        links: profile
            .links
            .iter()
            .map(|l| Link { path: PathBuf::from(&l.path), target: PathBuf::from(&l.target) })
            .collect(),
        masks: profile
            .masks
            .iter()
            .map(|m| Mask { path: PathBuf::from(&m.path), read_only: m.how == MaskKind::ReadOnly })
            .collect(),
        process: process(inputs),
        console: ConsolePlan { log: inputs.console_log.clone(), max_bytes: CONSOLE_LOG },
        online: OnlinePlan::new(config, init_kind(inputs), &inputs.network),
        network: inputs.network.clone(),
    })
}

fn init_kind(inputs: &Inputs<'_>) -> InitKind {
    if inputs.config.has_builtin_init() { InitKind::Builtin } else { inputs.init_kind }
}

/// What keeps a configuration and its brand from making a plan.
pub fn check(config: &ZoneConfig, profile: &Profile) -> Result<(), PlanError> {
    config.fs.iter().try_for_each(|fs| refuse_covered(fs, profile))
}

fn refuse_covered(fs: &Fs, profile: &Profile) -> Result<(), PlanError> {
    match profile.mounts.iter().find(|m| Path::new(&fs.target).starts_with(&m.target)) {
        None => Ok(()),
        Some(m) => Err(PlanError::Covered {
            target: fs.target.clone(),
            by: m.kind.fs_name().into(),
            over: m.target.clone(),
        }),
    }
}

/// What the host gives: the shared `/usr` of a sparse root, `/dev`, then the configured folders.
fn provided(inputs: &Inputs<'_>) -> Vec<Provided> {
    let Inputs { config, profile, .. } = inputs;
    let usr = config.root.sparse.then(|| Provided::Tree {
        source: "/usr".into(),
        target: "/usr".into(),
        flags: MountFlags { ro: true, nodev: true, ..MountFlags::default() },
    });
    let brand = profile.devices.iter().flat_map(|rule| &rule.paths);
    let nodes = brand.chain(config.device.iter().map(|d| &d.path)).map(PathBuf::from).collect();
    let shared = config.fs.iter().map(|fs| Provided::Tree {
        source: PathBuf::from(&fs.source),
        target: PathBuf::from(&fs.target),
        flags: MountFlags {
            ro: fs.options.contains(&FsOption::Ro),
            nosuid: fs.options.contains(&FsOption::Nosuid),
            nodev: true,
            noexec: fs.options.contains(&FsOption::Noexec),
        },
    });
    let resolver = inputs.network.resolver.clone();
    let resolver = resolver.map(|text| Provided::Text { target: "/etc/resolv.conf".into(), text });
    usr.into_iter().chain([Provided::Dev { nodes }]).chain(resolver).chain(shared).collect()
}

/// The kernel shows its devices (sysfs) only to whom the network namespace belongs: one that shares the host's does
/// without.
fn mount(of: &brands::profile::Mount, shares_network: bool) -> Mount {
    let has = |flag| of.flags.contains(&flag);
    Mount {
        fstype: of.kind.fs_name().into(),
        target: PathBuf::from(&of.target),
        flags: MountFlags {
            ro: has(MountFlag::Ro),
            nosuid: has(MountFlag::Nosuid),
            nodev: has(MountFlag::Nodev),
            noexec: has(MountFlag::Noexec),
        },
        options: of.options.clone(),
        optional: of.optional || (shares_network && of.kind.fs_name() == "sysfs"),
    }
}

fn process(inputs: &Inputs<'_>) -> ProcessPlan {
    let Inputs { config, profile, confinement, .. } = inputs;
    let init = init(config, profile);
    let stop_signal = profile.stop.signal_for(init_kind(inputs)).map_or(libc::SIGTERM, |s| s.number());
    let mut env: BTreeMap<String, String> =
        profile.env.iter().map(|(name, var)| (name.clone(), var.value.clone())).collect();
    // systemd takes the machine's identity from it (CONTAINER_INTERFACE).
    env.insert("container_uuid".into(), inputs.identity.uuid.to_string());
    env.extend(config.process.env.clone());
    let rlimits = profile.rlimits.iter().map(|(resource, limit)| {
        let number = *resource as u32;
        let ceiling = inputs.hard_limits.get(&number).copied().unwrap_or(u64::MAX);
        let hard = limit.hard.value().min(ceiling);
        (number, limit.soft.value().min(hard), hard)
    });
    ProcessPlan {
        env,
        capabilities: confinement.capabilities.bits(),
        rlimits: rlimits.collect(),
        no_new_privs: profile.no_new_privs.set,
        personality: (profile.personality.value != 0).then(|| profile.personality.value.into()),
        filter: confinement.filter.clone(),
        stop_signal,
        init,
    }
}

/// The program of its own root that a zone runs first; none if that is the built-in init.
pub fn own_init(config: &ZoneConfig, profile: &Profile) -> Option<String> {
    match init(config, profile) {
        Init::Program { argv } => argv.into_iter().next(),
        Init::Builtin { .. } => None,
    }
}

fn init(config: &ZoneConfig, profile: &Profile) -> Init {
    let process = &config.process;
    if config.has_builtin_init() {
        let cwd = process.cwd.clone().unwrap_or_else(|| "/".into());
        return Init::Builtin { argv: process.command.clone(), cwd, user: process.user.clone() };
    }
    let mut argv = match &process.init {
        Some(path) => vec![path.clone()],
        None => std::iter::once(&profile.init.path).chain(&profile.init.args).cloned().collect(),
    };
    argv.extend(process.command.iter().cloned());
    Init::Program { argv }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn made(yaml: &str) -> Result<Plan, PlanError> {
        let config = ZoneConfig::parse(yaml).unwrap();
        let profile = brands::Library::built_in().unwrap().get("native").unwrap();
        let uuid = Uuid::from_u128(7);
        plan(&Inputs {
            identity: Identity { name: config.zone.clone(), uuid, boot: 3, hostname: "h".into() },
            ids: IdRange { base: 1 << 29, count: 65_536 },
            profile: &profile,
            confinement: Confinement { capabilities: CapSet::EMPTY, filter: vec![0; 8] },
            init_kind: InitKind::Systemd,
            lowers: vec!["/l".into()],
            dataset: Dataset::Folder("/d".into()),
            cgroups: Cgroups {
                zone: "/c".into(),
                payload: "/c/payload".into(),
                exec: "/c/exec".into(),
                v1: vec![],
            },
            run: &RunFolder("/r".into()),
            console_log: "/log".into(),
            hard_limits: &BTreeMap::from([(libc::RLIMIT_NOFILE, 2000)]),
            network: NetworkPlan::default(),
            config: &config,
        })
    }

    #[test]
    fn a_sparse_zone_shares_usr_read_only_and_waits() {
        let plan = made("zone: a").unwrap();
        let usr = plan
            .provided
            .iter()
            .find(|p| matches!(p, Provided::Tree { target, .. } if target == Path::new("/usr")));
        assert!(matches!(usr, Some(Provided::Tree { flags, .. }) if flags.ro && flags.nodev));
        assert!(matches!(&plan.process.init, Init::Builtin { argv, .. } if argv.is_empty()));
        assert_eq!(plan.process.stop_signal, libc::SIGTERM);
    }

    #[test]
    fn an_image_runs_its_own_init_unless_told_otherwise() {
        let plan = made("zone: a\nroot: { image: debian:bookworm }").unwrap();
        assert_eq!(plan.process.init, Init::Program { argv: vec!["/sbin/init".into()] });
        assert_eq!(plan.process.stop_signal, 37, "SIGRTMIN+3 for systemd");
        let plan =
            made("zone: a\nroot: { image: debian:bookworm }\nprocess: { command: [/bin/true] }").unwrap();
        assert!(matches!(plan.process.init, Init::Builtin { .. }));
    }

    #[test]
    fn limits_never_exceed_the_hosts() {
        let plan = made("zone: a").unwrap();
        assert!(plan.process.rlimits.contains(&(libc::RLIMIT_NOFILE, 1024, 2000)));
    }

    #[test]
    fn a_folder_that_would_be_covered_is_refused() {
        assert!(matches!(
            made("zone: a\nfs: [{ source: /srv, target: /run/srv }]"),
            Err(PlanError::Covered { .. })
        ));
        assert!(made("zone: a\nfs: [{ source: /srv, target: /runner }]").is_ok());
    }

    #[test]
    fn a_plan_survives_its_file() {
        let plan = made("zone: a\nfs: [{ source: /srv, target: /srv, options: [ro] }]").unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
    }
}
