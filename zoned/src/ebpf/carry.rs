//! Taking over from programs of another layout: their maps are read by what their own BTF says of them.
//!
//! Slots, device rules and figures are carried; fields are matched by name, so that a layout that only grew or lost
//! some loses nothing else. Which interfaces are guarded is told again for each zone that is taken over: the old programs
//! stay on them until the new ones take their places. The old programs work until the new ones are activated right after the figures were
//! read, and what they count in between, for about a millisecond, is not carried: figures still never go back.

use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, Map, MapData};
use zone_ebpf_abi::{
    DeviceKey, Figures, HOST, Identity, MAX_SLOTS, NetFigures, Protocol, Reason, Slot, WAIT_BUCKETS, names,
};

use super::{
    EbpfError,
    btf::{Btf, BtfError},
    open_map,
    pins::{self, Pins},
    possible_cpus,
};
use crate::sys::bpf::{self, RawMap};

/// The newest other layout, if there is one.
pub(super) fn other_layout(pins: &Pins) -> Result<Option<PathBuf>, EbpfError> {
    let others = pins.other_layouts()?;
    Ok(others.into_iter().filter(|layout| pins::map_of(layout, names::SLOTS).exists()).max())
}

/// Carries who has which slot and may use which device. To be called before the device policy is attached.
pub(super) fn policy(pins: &Pins, layout: &Path) -> Result<(), EbpfError> {
    let used = carry_slots(pins, layout)?;
    carry_devices(pins, layout, &used)
}

/// Carries what has been counted. To be called right before the new programs begin to count.
pub(super) fn figures(pins: &Pins, layout: &Path) -> Result<(), EbpfError> {
    for programs in pins::generations(layout)? {
        if let Ok(flush) = bpf::get_pinned(&programs.join(names::FLUSH)) {
            super::figures::flush(&flush)?;
        }
    }
    let slots: Array<MapData, Slot> = open_map(pins, names::SLOTS, Map::Array)?;
    let generations = (0..MAX_SLOTS).map(|slot| {
        let entry = slots.get(&slot, 0).map_err(EbpfError::map(names::SLOTS, "read it"))?;
        Ok(if slot == HOST.slot { HOST.generation } else { entry.generation })
    });
    let generations = generations.collect::<Result<Vec<u32>, EbpfError>>()?;
    let mut new: Array<MapData, Figures> = open_map(pins, names::CARRIED, Map::Array)?;
    for (slot, counted) in summed(layout, [names::FIGURES, names::CARRIED], &generations, read_figures)? {
        let mut sum = Figures::begin(generations[slot as usize]);
        counted.iter().for_each(|one| sum.add(one));
        new.set(slot, sum, 0).map_err(EbpfError::map(names::CARRIED, "write to it"))?;
    }
    let mut new: Array<MapData, NetFigures> = open_map(pins, names::NET_CARRIED, Map::Array)?;
    for (slot, counted) in summed(layout, [names::NET, names::NET_CARRIED], &generations, read_net)? {
        let mut sum = NetFigures::begin(generations[slot as usize]);
        counted.into_iter().for_each(|one| sum.add(one));
        new.set(slot, sum, 0).map_err(EbpfError::map(names::NET_CARRIED, "write to it"))?;
    }
    Ok(())
}

/// What two maps of the old layout hold for each slot, on each CPU, of the slot's own generation. Nothing if the layout
/// has no such maps.
fn summed<F>(
    layout: &Path,
    maps: [&'static str; 2],
    generations: &[u32],
    read: impl Fn(&Old, &[u8]) -> Result<F, EbpfError>,
) -> Result<Vec<(u32, Vec<F>)>, EbpfError> {
    if maps.iter().any(|name| !pins::map_of(layout, name).exists()) {
        return Ok(Vec::new());
    }
    let (first, second) = (Old::open(layout, maps[0])?, Old::open(layout, maps[1])?);
    let mut all = Vec::new();
    for (slot, generation) in (0..first.map.max_entries()).zip(generations) {
        let mut own = Vec::new();
        for old in [&first, &second] {
            let Some(values) = old.get(&slot.to_ne_bytes())? else { continue };
            for value in values.chunks_exact(old.map.stride()) {
                let of = old.number(old.map.types().1, value, "generation")? as u32;
                if of == *generation {
                    own.push(read(old, value)?);
                }
            }
        }
        all.push((slot, own));
    }
    Ok(all)
}

/// A map of the old layout with the BTF that describes it.
struct Old {
    name: &'static str,
    map: RawMap,
    btf: Btf,
}

impl Old {
    fn open(layout: &Path, name: &'static str) -> Result<Self, EbpfError> {
        let path = pins::map_of(layout, name);
        let map = RawMap::open(&path, possible_cpus()?).map_err(EbpfError::pin(&path, "open it"))?;
        let btf = map.btf().map_err(EbpfError::kernel(name, "read its BTF"))?;
        let btf = Btf::parse(btf).map_err(|e| unreadable(name)(e))?;
        Ok(Old { name, map, btf })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EbpfError> {
        self.map.get(key).map_err(EbpfError::kernel(self.name, "read it"))
    }

    /// The bytes of a field, by its dotted path, of a value of that type; none if it has no such field.
    fn field<'a>(&self, mut type_id: u32, value: &'a [u8], path: &str) -> Result<&'a [u8], EbpfError> {
        let mut at = 0;
        for name in path.split('.') {
            let Some(field) = self.btf.field(type_id, name, 1).map_err(unreadable(self.name))? else {
                return Ok(&[]);
            };
            (type_id, at) = (field.type_id, at + field.offset as usize);
        }
        let size = self.btf.size(type_id).map_err(unreadable(self.name))?;
        value.get(at..at + size).ok_or_else(|| unreadable(self.name)(BtfError::Malformed(at)))
    }

    /// A field that is a number of 4 or 8 bytes; 0 if there is none.
    fn number(&self, type_id: u32, value: &[u8], name: &str) -> Result<u64, EbpfError> {
        Ok(number(self.field(type_id, value, name)?))
    }
}

fn unreadable(name: &'static str) -> impl Fn(BtfError) -> EbpfError {
    move |e| EbpfError::kernel(name, "read it as it was pinned by another zoned")(std::io::Error::other(e))
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = bytes.len().min(8);
    // The low bytes come first on every machine this runs on.
    word[..len].copy_from_slice(&bytes[..len]);
    u64::from_le_bytes(word)
}

/// Carries who has which slot, with generations; returns the slots in use.
fn carry_slots(pins: &Pins, layout: &Path) -> Result<Vec<Identity>, EbpfError> {
    let old = Old::open(layout, names::SLOTS)?;
    let mut slots: Array<MapData, Slot> = open_map(pins, names::SLOTS, Map::Array)?;
    let mut ids: HashMap<MapData, u64, Identity> = open_map(pins, names::IDS, Map::HashMap)?;
    let (_, value_type) = old.map.types();
    let mut used = Vec::new();
    for slot in HOST.slot + 1..old.map.max_entries().min(MAX_SLOTS) {
        let Some(value) = old.get(&slot.to_ne_bytes())? else { continue };
        let mut entry = Slot {
            cgroup_id: old.number(value_type, &value, "cgroup_id")?,
            generation: old.number(value_type, &value, "generation")? as u32,
            ..Slot::default()
        };
        let uuid = old.field(value_type, &value, "uuid")?;
        if entry.cgroup_id != 0 && uuid.len() == entry.uuid.len() {
            entry.uuid.copy_from_slice(uuid);
            let identity = Identity { slot, generation: entry.generation };
            ids.insert(entry.cgroup_id, identity, 0).map_err(EbpfError::map(names::IDS, "write to it"))?;
            used.push(identity);
        } else {
            entry.cgroup_id = 0;
        }
        slots.set(slot, entry, 0).map_err(EbpfError::map(names::SLOTS, "write to it"))?;
    }
    Ok(used)
}

fn carry_devices(pins: &Pins, layout: &Path, used: &[Identity]) -> Result<(), EbpfError> {
    let old = Old::open(layout, names::DEVICES)?;
    let mut new: HashMap<MapData, DeviceKey, u32> = open_map(pins, names::DEVICES, Map::HashMap)?;
    let (key_type, _) = old.map.types();
    for key in old.map.keys().map_err(EbpfError::kernel(names::DEVICES, "read it"))? {
        let number = |name: &str| old.number(key_type, &key, name).map(|n| n as u32);
        let carried = DeviceKey {
            slot: number("slot")?,
            generation: number("generation")?,
            kind: number("kind")?,
            major: number("major")?,
            minor: number("minor")?,
        };
        let Some(access) = old.get(&key)? else { continue };
        if used.contains(&Identity { slot: carried.slot, generation: carried.generation }) {
            new.insert(carried, self::number(&access) as u32, 0)
                .map_err(EbpfError::map(names::DEVICES, "write to it"))?;
        }
    }
    Ok(())
}

fn read_figures(old: &Old, value: &[u8]) -> Result<Figures, EbpfError> {
    let (_, value_type) = old.map.types();
    let number = |name: &str| old.number(value_type, value, name);
    let mut figures = Figures {
        usage_ns: number("usage_ns")?,
        switches_voluntary: number("switches_voluntary")?,
        switches_preempted: number("switches_preempted")?,
        wait_ns: number("wait_ns")?,
        forks: number("forks")?,
        execs: number("execs")?,
        exits: number("exits")?,
        ..Figures::begin(number("generation")? as u32)
    };
    let buckets = old.field(value_type, value, "wait_log2_us")?.chunks_exact(8);
    for (i, count) in buckets.enumerate() {
        // Were there more buckets once, the longest waits are together in the last.
        figures.wait_log2_us[i.min(WAIT_BUCKETS - 1)] += self::number(count);
    }
    Ok(figures)
}

fn read_net(old: &Old, value: &[u8]) -> Result<NetFigures, EbpfError> {
    let (_, value_type) = old.map.types();
    let number = |path: &str| old.number(value_type, value, path);
    let mut figures = NetFigures::begin(number("generation")? as u32);
    for (protocol, name) in Protocol::ALL {
        for (way, traffic) in
            [("received", figures.received.of(protocol)), ("sent", figures.sent.of(protocol))]
        {
            traffic.packets = number(&format!("{way}.{name}.packets"))?;
            traffic.bytes = number(&format!("{way}.{name}.bytes"))?;
        }
    }
    for (reason, name) in Reason::ALL {
        *figures.dropped.of(reason) = number(&format!("dropped.{name}"))?;
    }
    Ok(figures)
}
