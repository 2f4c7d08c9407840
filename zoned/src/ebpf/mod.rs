//! The eBPF programs and their maps, as the rest of the daemon sees them: [`Kernel`].
//!
//! ```text
//!           assign, release, allow_device, guard, …    figures, process_events, log_lines
//!                        │                                           ▲
//!    policy maps   zone_slots zone_ids zone_devices    zone_figures zone_net zone_events   state maps
//!                  zone_links zone_addresses …         AYA_LOGS      ▲
//!                        └────────────▶  programs (zone-ebpf)  ──────┘
//! ```
//! Owns everything below one folder of a bpffs. All of it is pinned: accounting and the device policy go on while
//! zoned is dead, and the next one takes it over as it is, or replaces programs without losing a figure. Several
//! zoned with pins of their own work side by side.
//!
//! Policy maps are written here and nowhere else, state maps never.

mod btf;
mod carry;
mod clsact;
mod error;
mod events;
mod figures;
pub mod fss;
mod load;
mod object;
mod pins;
mod probe;
mod struct_ops;
#[cfg(test)]
mod tests;
mod traffic;
mod zones;

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use zone_ebpf_abi::{
    AddressKey, DeviceKey, Figures as RawFigures, Identity, LAYOUT, Link, Meta, NetFigures, Slot, SocketKey,
    names,
};

pub use self::{
    btf::BtfError,
    error::EbpfError,
    events::{LogLines, Process, ProcessEvent, ProcessEvents},
    figures::Figures,
    probe::{Probe, Purpose, embedded, probe},
    traffic::{Guarded, Interfaces},
    zones::{Assigned, DeviceRule, STANDARD_DEVICES},
};
use self::{load::Install, pins::Pins};
use crate::sys::bpf;
pub use zone_ebpf_abi::{Access, DeviceKind, NetFigures as Traffic, Protocol, Reason, WAIT_BUCKETS};

/// What the programs are loaded for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder on a bpffs, made if it does not exist. One zoned a folder.
    pub pins: PathBuf,
    /// Parent of all zones' cgroups, a folder of cgroup2 that exists. Whatever is in it may use no device but those
    /// that its zone is allowed.
    pub zones_cgroup: PathBuf,
    /// Depth of a zone's cgroup below the root of cgroup2: 2 for `<root>/zones/<zone>`.
    pub level: u32,
}

/// Programs and maps in the kernel.
///
/// Dropping it changes nothing there: see [`unload`].
pub struct Kernel {
    pins: PathBuf,
    programs: PathBuf,
    attached: PathBuf,
    slots: Array<MapData, Slot>,
    /// What `slots` holds, which nobody else writes: a thousand system calls fewer wherever a slot is looked for.
    table: Vec<Slot>,
    ids: HashMap<MapData, u64, Identity>,
    devices: HashMap<MapData, DeviceKey, u32>,
    counted: PerCpuArray<MapData, RawFigures>,
    carried: Array<MapData, RawFigures>,
    links: HashMap<MapData, u32, Link>,
    addresses: HashMap<MapData, AddressKey, u32>,
    sockets: HashMap<MapData, SocketKey, u32>,
    net: PerCpuArray<MapData, NetFigures>,
    net_carried: Array<MapData, NetFigures>,
    flush: OwnedFd,
}

impl Kernel {
    /// Takes over what is pinned, or loads, attaches and pins it.
    ///
    /// # Errors
    /// [`EbpfError::Stub`] if zoned was built without the programs; else what the kernel refused. Programs that
    /// worked before go on working then.
    pub fn open(options: &Options) -> Result<Self, EbpfError> {
        let object = object::embedded()?;
        let pins = Pins::open(&options.pins)?;
        let (cgroup, cgroup_id) = open_cgroup(&options.zones_cgroup)?;
        let build = object::build(object, options.level);
        let working = working(&pins)?;
        let intact = working.is_some_and(|meta| pins.intact(meta.active, cgroup_id));
        let generation = match working {
            Some(meta) if intact && meta.build == build => meta.active,
            _ => {
                let generation = working.map_or(1, |meta| meta.active.wrapping_add(1).max(1));
                let install =
                    Install { object, pins: &pins, level: options.level, generation, cgroup: &cgroup };
                let other = if working.is_none() { carry::other_layout(&pins)? } else { None };
                install.run(|| other.iter().try_for_each(|layout| carry::policy(&pins, layout)))?;
                if working.is_some() && !intact {
                    load::forget_running(&pins)?;
                }
                other.iter().try_for_each(|layout| carry::figures(&pins, layout))?;
                activate(&pins, Meta { layout: LAYOUT, active: generation, build })?;
                generation
            }
        };
        pins.sweep(generation)?;
        let mut kernel = Self::of_pins(&options.pins, &pins, generation)?;
        kernel.reconcile()?;
        kernel.flush()?;
        Ok(kernel)
    }

    fn of_pins(root: &Path, pins: &Pins, generation: u32) -> Result<Self, EbpfError> {
        let programs = pins.programs(generation);
        let flush = programs.join(names::FLUSH);
        let slots = open_map(pins, names::SLOTS, Map::Array)?;
        Ok(Kernel {
            pins: root.into(),
            table: zones::read_table(&slots)?,
            slots,
            ids: open_map(pins, names::IDS, Map::HashMap)?,
            devices: open_map(pins, names::DEVICES, Map::HashMap)?,
            counted: open_map(pins, names::FIGURES, Map::PerCpuArray)?,
            carried: open_map(pins, names::CARRIED, Map::Array)?,
            links: open_map(pins, names::LINKS, Map::HashMap)?,
            addresses: open_map(pins, names::ADDRESSES, Map::HashMap)?,
            sockets: open_map(pins, names::SOCKETS, Map::HashMap)?,
            net: open_map(pins, names::NET, Map::PerCpuArray)?,
            net_carried: open_map(pins, names::NET_CARRIED, Map::Array)?,
            flush: bpf::get_pinned(&flush).map_err(EbpfError::pin(&flush, "open it"))?,
            programs,
            attached: pins.links(),
        })
    }

    /// The fair-share scheduler: the one that works, or a new one.
    ///
    /// # Errors
    /// What the kernel refused; then it schedules as it did before.
    pub fn scheduler(&self, level: u32) -> Result<fss::Scheduler, EbpfError> {
        fss::Scheduler::open(&Pins::open(&self.pins)?, level)
    }

    /// Where everything is pinned.
    pub fn pins(&self) -> &Path {
        &self.pins
    }
}

/// Removes everything that [`Kernel::open`] pinned: nothing is counted and no device denied any more. For tests, and
/// for taking zoned off a host where no zone runs.
pub fn unload(pins: &Path) -> Result<(), EbpfError> {
    pins::remove_all(pins)
}

fn open_cgroup(path: &Path) -> Result<(File, u64), EbpfError> {
    let cannot = |source| EbpfError::Cgroup { path: path.into(), source };
    let folder = File::open(path).map_err(cannot)?;
    // On 64-bit hosts the inode of a cgroup's folder is its id.
    let id = folder.metadata().map_err(cannot)?.ino();
    Ok((folder, id))
}

/// What the pinned maps say about the programs that work on them; `None` if there are none.
fn working(pins: &Pins) -> Result<Option<Meta>, EbpfError> {
    if !pins.has_maps() {
        return Ok(None);
    }
    let meta: Array<MapData, Meta> = open_map(pins, names::META, Map::Array)?;
    let meta = meta.get(&0, 0).map_err(EbpfError::map(names::META, "read it"))?;
    Ok((meta.layout == LAYOUT && meta.active != 0).then_some(meta))
}

/// From now on the programs of that generation work.
fn activate(pins: &Pins, meta: Meta) -> Result<(), EbpfError> {
    let mut map: Array<MapData, Meta> = open_map(pins, names::META, Map::Array)?;
    map.set(0, meta, 0).map_err(EbpfError::map(names::META, "write to it"))
}

fn open_map<M>(pins: &Pins, name: &'static str, kind: fn(MapData) -> Map) -> Result<M, EbpfError>
where
    M: TryFrom<Map, Error = MapError>,
{
    open_pinned(&pins.map(name), name, kind)
}

fn open_pinned<M>(path: &Path, name: &'static str, kind: fn(MapData) -> Map) -> Result<M, EbpfError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let data = MapData::from_pin(path).map_err(EbpfError::map(name, "open its pin"))?;
    M::try_from(kind(data)).map_err(EbpfError::map(name, "use it as it is pinned"))
}

/// CPUs that this host can ever have: a per-CPU map has a value for each.
fn possible_cpus() -> Result<usize, EbpfError> {
    aya::util::nr_cpus().map_err(|(path, source)| EbpfError::kernel(path, "count the CPUs in it")(source))
}
