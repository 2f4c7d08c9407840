//! What all zones share on this host.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;
use zoned_api::{ApiError, ZoneName};

use crate::{
    brand::Brands,
    cpu,
    events::Journal,
    image::Images,
    metering::Metering,
    network::Network,
    plan::RunFolder,
    platform::{cgroup::Tree, disks::Disk},
    store::Store,
    zone::{limits::Keeper, monitors::Monitors},
};

/// What all zones share. One per daemon, behind an `Arc`.
#[derive(Debug)]
pub struct Host {
    /// Run folder of the daemon.
    pub run_dir: PathBuf,
    /// State folder of the daemon.
    pub state_dir: PathBuf,
    /// The kernel's id of this life of the host (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Where zones get their monitors.
    pub monitors: Monitors,
    /// Hard limits of this process by number of RLIMIT_*, which no zone can exceed.
    pub hard_limits: BTreeMap<u32, u64>,
    /// What outlives the daemon.
    pub store: Store,
    /// What every zone has files on: the state folder's and `/usr`'s.
    pub disks: Vec<Disk>,
    /// Groups of processes.
    pub tree: Tree,
    /// Brands.
    pub brands: Brands,
    /// Roots.
    pub images: Images,
    /// Slots, figures and process events.
    pub metering: Metering,
    /// Limits of zones that run.
    pub limits: Keeper,
    /// What keeps CPU shares.
    pub cpu: cpu::Keeper,
    /// Bridge, addresses, firewall.
    pub network: Network,
    /// What happened.
    pub journal: Journal,
    /// Which name is whose.
    pub names: Names,
    /// Zones that were left out at the start, and why.
    pub unreadable: Mutex<Vec<String>>,
}

impl Host {
    /// Run folder of one zone.
    pub fn run_folder(&self, zone: &Uuid) -> RunFolder {
        RunFolder::of(&self.run_dir, zone)
    }

    /// Notes a zone that cannot be read and is left out; `doctor` shows it.
    pub fn leave_out(&self, why: String) {
        tracing::error!("a zone is left out: {why}");
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }
}

/// Which name is whose. A name is claimed before it is written anywhere, so that two clients cannot both get it.
#[derive(Debug, Default)]
pub struct Names(Mutex<BTreeMap<ZoneName, Uuid>>);

impl Names {
    /// Gives a name to a zone, unless another one has it.
    pub fn claim(&self, name: &ZoneName, zone: Uuid) -> Result<(), ApiError> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get(name) {
            Some(owner) if *owner != zone => Err(ApiError::ZoneExists { zone: name.to_string() }),
            _ => {
                names.insert(name.clone(), zone);
                Ok(())
            }
        }
    }

    /// Takes a name back from a zone.
    pub fn release(&self, name: &ZoneName, zone: Uuid) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.get(name) == Some(&zone) {
            names.remove(name);
        }
    }

    /// Whose a name is.
    pub fn owner(&self, name: &str) -> Option<Uuid> {
        let name: ZoneName = name.parse().ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied()
    }
}
