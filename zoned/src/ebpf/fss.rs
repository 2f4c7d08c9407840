//! `zone-fss`, the fair-share scheduler, in the kernel: loading it, and what it says.
//!
//! ```text
//! <pins>/fss/<build>/link     holds it registered, whatever becomes of zoned
//!                    <map>
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use aya::{
    EbpfLoader,
    maps::{Array, Map, MapData},
};
use sha2::{Digest, Sha256};
use zone_ebpf_abi::{
    Identity, LAYOUT, MAX_SLOTS,
    fss::{FssExit, FssHost, FssOwned, MAX_CPUS},
    names::{self, fss as name},
};

use super::{
    EbpfError,
    btf::{Btf, BtfError},
    load::VMLINUX,
    open_pinned, pins,
    pins::Pins,
    possible_cpus,
    struct_ops::{self, Field, Source},
};
use crate::sys::bpf;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/zone-fss.o"));

/// Where the kernel tells of its scheduler.
const SCHED_EXT: &str = "/sys/kernel/sched_ext";
/// Longest that a task may wait before the kernel takes the scheduler away, milliseconds: the most it allows.
const TIMEOUT_MS: u64 = 30_000;

const LINK: &str = "link";

/// How long the kernel has to end a scheduler.
const LONGEST_END: Duration = Duration::from_secs(10);

/// The scheduler, loaded by this zoned or an earlier one.
///
/// Dropping it changes nothing in the kernel: see [`Scheduler::stop`].
#[derive(Debug)]
pub struct Scheduler {
    folder: PathBuf,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `enum scx_exit_kind` of the kernel.
    pub kind: u32,
    /// In the kernel's words.
    pub reason: String,
}

/// Which scheduler of sched_ext the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Present {
    /// The kernel knows no sched_ext.
    Unknown,
    /// None is loaded.
    None,
    /// `zone-fss`, whoever loaded it.
    Ours,
    /// Another one, by that name.
    Other(String),
}

/// Which scheduler of sched_ext is loaded now.
pub fn present() -> Present {
    let read = |file: &str| fs::read_to_string(Path::new(SCHED_EXT).join(file));
    match read("state") {
        Err(_) => Present::Unknown,
        Ok(state) if state.trim() == "disabled" => Present::None,
        Ok(_) => match read("root/ops") {
            Ok(ops) if ops.trim() == name::SCHEDULER => Present::Ours,
            Ok(ops) => Present::Other(ops.trim().to_owned()),
            Err(_) => Present::None,
        },
    }
}

/// Waits for the kernel to be through with the scheduler whose pins are gone: until then it takes no other. Who asks for one
/// after that is told by the kernel.
fn wait_until_gone() {
    let since = Instant::now();
    while busy() && since.elapsed() < LONGEST_END {
        sleep(Duration::from_millis(10));
    }
}

/// Whether the kernel has a scheduler of ours, or is about to have none.
fn busy() -> bool {
    let state = fs::read_to_string(Path::new(SCHED_EXT).join("state"));
    state.is_ok_and(|state| state.trim() != "disabled") && !matches!(present(), Present::Other(_))
}

impl Scheduler {
    /// Takes over the scheduler that is pinned and works, or loads it.
    ///
    /// `level` as in [`super::Options`]. The map that names zones is pinned already, by [`super::Kernel`].
    pub(super) fn open(pins: &Pins, level: u32) -> Result<Self, EbpfError> {
        if OBJECT.is_empty() {
            return Err(EbpfError::Stub);
        }
        let root = pins.scheduler();
        let scheduler = Scheduler { folder: root.join(build(level)) };
        if scheduler.works() {
            return Ok(scheduler);
        }
        // One scheduler at a time: what is there, of another build or dead, goes first.
        pins::remove(&root)?;
        wait_until_gone();
        pins::make(&root)?;
        pins::make(&scheduler.folder)?;
        if let Err(refused) = load(pins, level, &scheduler.folder) {
            pins::remove(&root)?;
            return Err(refused);
        }
        Ok(scheduler)
    }

    /// Whether it is pinned and the kernel uses it. One that was taken away keeps its pins.
    fn works(&self) -> bool {
        present() == Present::Ours
            && bpf::get_pinned(&self.folder.join(LINK)).is_ok()
            && self.ended().is_ok_and(|ended| ended.is_none())
    }

    /// Has the kernel go back to its own scheduler.
    pub fn stop(self) -> Result<(), EbpfError> {
        pins::remove(&self.folder)
    }

    /// Gives the host's own processes so many shares against those of zones, within a tenth of a second. 0 is no number of
    /// shares: the last stays.
    pub fn weigh_host(&self, shares: u32) -> Result<(), EbpfError> {
        self.tell(|host| host.weight = shares)
    }

    /// Gives those zones those CPUs for themselves, and nobody else any. That nobody else may use them the cpusets see to; here
    /// it is so that everybody has one queue for all the CPUs that he may use. In force within a tenth of a second.
    pub fn dedicate(&self, sets: &[(Identity, &BTreeSet<u32>)]) -> Result<(), EbpfError> {
        let taken: usize = sets.iter().map(|(_, cpus)| cpus.len()).sum();
        let mut owners: Array<MapData, u32> = self.map(name::OWNERS)?;
        let mut owned: Array<MapData, FssOwned> = self.map(name::OWNED)?;
        for cpu in scheduled_cpus()? {
            let owner = sets.iter().find(|(_, cpus)| cpus.contains(&cpu)).map_or(0, |(of, _)| of.slot + 1);
            owners.set(cpu, owner, 0).map_err(EbpfError::map(name::OWNERS, "write it"))?;
        }
        for slot in 0..MAX_SLOTS {
            let own = sets.iter().find(|(of, _)| of.slot == slot);
            let own = own.map_or_else(FssOwned::default, |(of, cpus)| FssOwned {
                generation: of.generation,
                cpus: cpus.len() as u32,
            });
            owned.set(slot, own, 0).map_err(EbpfError::map(name::OWNED, "write it"))?;
        }
        self.tell(|host| {
            host.taken = taken as u32;
            host.changes = host.changes.wrapping_add(1);
        })
    }

    /// Says at which last level cache each CPU is. Where there are several, a CPU takes rather what last ran beside it.
    pub fn place(&self, caches: &BTreeMap<u32, u32>) -> Result<(), EbpfError> {
        let mut map: Array<MapData, u32> = self.map(name::CACHES)?;
        for cpu in scheduled_cpus()? {
            let cache = caches.get(&cpu).map_or(0, |cache| cache + 1);
            map.set(cpu, cache, 0).map_err(EbpfError::map(name::CACHES, "write it"))?;
        }
        let count = caches.values().collect::<BTreeSet<_>>().len();
        self.tell(|host| host.caches = count as u32)
    }

    fn tell(&self, change: impl FnOnce(&mut FssHost)) -> Result<(), EbpfError> {
        let mut map: Array<MapData, FssHost> = self.map(name::HOST)?;
        let mut host = map.get(&0, 0).map_err(EbpfError::map(name::HOST, "read it"))?;
        change(&mut host);
        map.set(0, host, 0).map_err(EbpfError::map(name::HOST, "write it"))
    }

    fn map<T: aya::Pod>(&self, name: &'static str) -> Result<Array<MapData, T>, EbpfError> {
        open_pinned(&self.folder.join(name), name, Map::Array)
    }

    /// Why it ended, if it has.
    pub fn ended(&self) -> Result<Option<Ended>, EbpfError> {
        let map: Array<MapData, FssExit> = self.map(name::ENDED)?;
        let exit = map.get(&0, 0).map_err(EbpfError::map(name::ENDED, "read it"))?;
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        if exit.kind == 0 {
            return Ok(None);
        }
        let (reason, message) = (text(&exit.reason), text(&exit.message));
        let reason = if message.is_empty() { reason } else { format!("{reason}: {message}") };
        Ok(Some(Ended { kind: exit.kind, reason }))
    }

    /// What it keeps of a slot.
    #[cfg(test)]
    pub(super) fn zone(&self, slot: u32) -> Result<zone_ebpf_abi::fss::FssZone, EbpfError> {
        let map: Array<MapData, _> = self.map(name::ZONES)?;
        map.get(&slot, 0).map_err(EbpfError::map(name::ZONES, "read it"))
    }
}

/// CPUs that the scheduler has room for.
fn scheduled_cpus() -> Result<std::ops::Range<u32>, EbpfError> {
    Ok(0..(possible_cpus()? as u32).min(MAX_CPUS))
}

/// What schedulers that differ are told apart by.
fn build(level: u32) -> String {
    // Maps of another layout are others, the one that names zones too.
    let digest = Sha256::new()
        .chain_update(OBJECT)
        .chain_update(level.to_ne_bytes())
        .chain_update(LAYOUT.to_ne_bytes())
        .finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn load(pins: &Pins, level: u32, folder: &Path) -> Result<(), EbpfError> {
    let cannot = |source| EbpfError::Btf { source };
    let kernel = fs::read(VMLINUX).map_err(|source| EbpfError::NoBtf { source })?;
    let kernel = Btf::parse(kernel).map_err(cannot)?;
    let (numbers, words) = constants(&kernel, level).map_err(cannot)?;
    let mut loader = EbpfLoader::new();
    loader.allow_unsupported_maps();
    numbers.iter().for_each(|(name, value)| {
        loader.override_global(name, value, true);
    });
    words.iter().for_each(|(name, value)| {
        loader.override_global(name, value, true);
    });
    loader.map_pin_path(names::IDS, pins.map(names::IDS));
    for map in name::MAPS {
        loader.map_pin_path(map, folder.join(map));
    }
    let stripped = struct_ops::without_programs(OBJECT).map_err(|what| EbpfError::Object { what })?;
    let maps = loader.load(&stripped).map_err(|e| EbpfError::Load { source: Box::new(e) })?;
    let flags = kernel.enumerators(&name::FLAGS).map_err(cannot)?.iter().sum();
    let source = Source {
        structure: "sched_ext_ops",
        fields: &[
            ("name", Field::Text(name::SCHEDULER)),
            ("timeout_ms", Field::Number(TIMEOUT_MS)),
            ("flags", Field::Number(flags)),
        ],
        object: OBJECT,
        maps: &struct_ops::made(&maps),
        optional: &name::LATER_OPERATIONS,
    };
    let refused = |source| EbpfError::StructOps { source: Box::new(source) };
    let link = struct_ops::load(&source, &kernel).and_then(struct_ops::Loaded::register).map_err(refused)?;
    let path = folder.join(LINK);
    bpf::pin(link.as_fd(), &path).map_err(EbpfError::pin(&path, "pin a link"))
}

type Constants = (Vec<(&'static str, u32)>, Vec<(&'static str, u64)>);

/// Constants of the programs: 32-bit and 64-bit ones.
fn constants(kernel: &Btf, level: u32) -> Result<Constants, BtfError> {
    let online = aya::util::online_cpus().map_or(1, |cpus| cpus.len());
    let possible = possible_cpus().unwrap_or(online);
    let mut numbers =
        vec![(name::LEVEL, level), (name::CPUS, possible as u32), (name::CPUS_ONLINE, online as u32)];
    kernel.function(name::NEEDED)?;
    let functions = kernel.functions(&name::FUNCTIONS.map(|(_, function)| function))?;
    for (constant, function) in name::FUNCTIONS {
        numbers.push((constant, functions.contains_key(function).into()));
    }
    for (constant, structure, path) in name::OFFSETS {
        numbers.push((constant, kernel.offset(structure, path)?));
    }
    for (constant, structure, path) in name::LATER_OFFSETS {
        numbers.push((constant, kernel.offset(structure, path).unwrap_or(0)));
    }
    let words = name::ENUMERATORS.into_iter().zip(kernel.enumerators(&name::ENUMERATORS)?);
    Ok((numbers, words.chain([(name::TICKS, ticks_a_second())]).collect()))
}

/// How often the kernel's clock ticks in a second, as the coarse clock has it, which moves on by one tick at a time.
fn ticks_a_second() -> u64 {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    u64::try_from(1_000_000_000 / tick.tv_nsec.max(1)).unwrap_or(100)
}
