//! Which zone has which slot, and which devices it may use.
//!
//! `zone_slots` is the record: it says who has a slot. `zone_ids` makes it true for the programs, and is written
//! after it and removed before it; [`Kernel::reconcile`] mends what a zoned that was killed in between left.

use aya::maps::{Array, MapData, MapError};
use uuid::Uuid;
use zone_ebpf_abi::{Access, DeviceKey, DeviceKind, HOST, Identity, MAX_SLOTS, Slot, names};

use super::{EbpfError, Kernel};

/// A zone that has a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The zone.
    pub zone: Uuid,
    /// Id of the cgroup of its current boot.
    pub cgroup_id: u64,
    /// Index in the programs' arrays; given to another zone after this one is released.
    pub slot: u32,
    /// Which of the slot's zones, one after the other, this is.
    pub generation: u32,
}

/// A device that a zone may use. Rules add up; what no rule allows is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Kind of node.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number; all of them if none.
    pub minor: Option<u32>,
    /// What the zone may do with it.
    pub access: Access,
}

const fn char_device(major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule { kind: DeviceKind::Char, major, minor, access: Access::READ_WRITE }
}

/// What every userland expects to open: null, zero, full, random, urandom, tty, ptmx, and the terminals of devpts
/// (136 to 143; which of them a zone sees is up to the devpts that it has).
pub const STANDARD_DEVICES: [DeviceRule; 15] = [
    char_device(1, Some(3)),
    char_device(1, Some(5)),
    char_device(1, Some(7)),
    char_device(1, Some(8)),
    char_device(1, Some(9)),
    char_device(5, Some(0)),
    char_device(5, Some(2)),
    char_device(136, None),
    char_device(137, None),
    char_device(138, None),
    char_device(139, None),
    char_device(140, None),
    char_device(141, None),
    char_device(142, None),
    char_device(143, None),
];

impl Kernel {
    /// Gives a zone a slot, for the boot that has this cgroup. To be called before anything runs in it: until then
    /// what runs there is the host's and may use no device.
    ///
    /// The same pair again changes nothing. Another cgroup begins anew: figures at zero, no device allowed.
    ///
    /// # Errors
    /// [`EbpfError::NoSlot`] if [`MAX_SLOTS`] − 1 zones have one.
    pub fn assign(&mut self, zone: Uuid, cgroup_id: u64) -> Result<u32, EbpfError> {
        if let Some(assigned) = self.slot_of(zone)? {
            if assigned.cgroup_id == cgroup_id {
                return Ok(assigned.slot);
            }
            self.release(zone)?;
        }
        let (slot, before) = self.free_slot()?.ok_or(EbpfError::NoSlot { zone })?;
        // Zero is what entries nobody has written say.
        let generation = before.generation.wrapping_add(1).max(1);
        self.write_slot(slot, Slot { uuid: zone.into_bytes(), cgroup_id, generation, reserved: 0 })?;
        self.write_id(cgroup_id, Identity { slot, generation })?;
        Ok(slot)
    }

    /// Takes a zone's slot back, with its device rules and what is known of its interfaces. To be called when nothing runs in its cgroup any more. A
    /// zone that has none is no error.
    pub fn release(&mut self, zone: Uuid) -> Result<(), EbpfError> {
        let Some(assigned) = self.slot_of(zone)? else { return Ok(()) };
        absent_is_fine(self.ids.remove(&assigned.cgroup_id))
            .map_err(EbpfError::map(names::IDS, "remove from it"))?;
        self.forget_devices(|key| key.slot == assigned.slot)?;
        self.forget_interfaces(zone, assigned.slot)?;
        let generation = self.slot(assigned.slot)?.generation;
        self.write_slot(assigned.slot, Slot { generation, ..Slot::default() })
    }

    /// All zones that have a slot, by slot.
    pub fn assigned(&self) -> Result<Vec<Assigned>, EbpfError> {
        let mut all = Vec::new();
        for slot in zone_slots() {
            let entry = self.slot(slot)?;
            if entry.cgroup_id != 0 {
                let zone = Uuid::from_bytes(entry.uuid);
                all.push(Assigned { zone, cgroup_id: entry.cgroup_id, slot, generation: entry.generation });
            }
        }
        Ok(all)
    }

    /// Lets a zone use a device, besides what it may use already. Holds until the zone is released.
    ///
    /// # Errors
    /// [`EbpfError::NotAssigned`] if the zone has no slot.
    pub fn allow_device(&mut self, zone: Uuid, rule: DeviceRule) -> Result<(), EbpfError> {
        let assigned = self.slot_of(zone)?.ok_or(EbpfError::NotAssigned { zone })?;
        let key = DeviceKey {
            slot: assigned.slot,
            generation: self.slot(assigned.slot)?.generation,
            kind: rule.kind as u32,
            major: rule.major,
            minor: rule.minor.unwrap_or(DeviceKey::ANY_MINOR),
        };
        let before = match self.devices.get(&key, 0) {
            Ok(access) => access,
            Err(MapError::KeyNotFound) => 0,
            Err(e) => return Err(EbpfError::map(names::DEVICES, "read it")(e)),
        };
        let access = before | rule.access.0;
        self.devices.insert(key, access, 0).map_err(EbpfError::map(names::DEVICES, "write to it"))
    }

    /// Makes what the programs go by agree with who has a slot.
    pub(super) fn reconcile(&mut self) -> Result<(), EbpfError> {
        let mut live = std::collections::HashMap::new();
        for slot in zone_slots() {
            let entry = self.slot(slot)?;
            if entry.cgroup_id != 0 {
                live.insert(entry.cgroup_id, Identity { slot, generation: entry.generation });
            }
        }
        let known = self.ids.keys().collect::<Result<Vec<_>, _>>();
        for id in known.map_err(EbpfError::map(names::IDS, "read it"))? {
            if !live.contains_key(&id) {
                absent_is_fine(self.ids.remove(&id)).map_err(EbpfError::map(names::IDS, "remove from it"))?;
            }
        }
        for (id, identity) in &live {
            self.write_id(*id, *identity)?;
        }
        let lives =
            |slot, generation| live.values().any(|zone| (zone.slot, zone.generation) == (slot, generation));
        self.forget_policy(|slot, generation| !lives(slot, generation))?;
        self.forget_devices(|key| !lives(key.slot, key.generation))
    }

    /// Slot and generation of each zone that has one.
    pub(super) fn identities(&self) -> Result<Vec<(Uuid, Identity)>, EbpfError> {
        let mut all = Vec::new();
        for slot in zone_slots() {
            let entry = self.slot(slot)?;
            if entry.cgroup_id != 0 {
                all.push((Uuid::from_bytes(entry.uuid), Identity { slot, generation: entry.generation }));
            }
        }
        Ok(all)
    }

    pub(super) fn slot_of(&self, zone: Uuid) -> Result<Option<Assigned>, EbpfError> {
        Ok(self.assigned()?.into_iter().find(|assigned| assigned.zone == zone))
    }

    fn free_slot(&self) -> Result<Option<(u32, Slot)>, EbpfError> {
        for slot in zone_slots() {
            let entry = self.slot(slot)?;
            if entry.cgroup_id == 0 {
                return Ok(Some((slot, entry)));
            }
        }
        Ok(None)
    }

    pub(super) fn slot(&self, slot: u32) -> Result<Slot, EbpfError> {
        self.table
            .get(slot as usize)
            .copied()
            .ok_or_else(|| EbpfError::map(names::SLOTS, "read it")(MapError::KeyNotFound))
    }

    fn write_slot(&mut self, slot: u32, entry: Slot) -> Result<(), EbpfError> {
        self.slots.set(slot, entry, 0).map_err(EbpfError::map(names::SLOTS, "write to it"))?;
        if let Some(kept) = self.table.get_mut(slot as usize) {
            *kept = entry;
        }
        Ok(())
    }

    fn write_id(&mut self, cgroup_id: u64, identity: Identity) -> Result<(), EbpfError> {
        self.ids.insert(cgroup_id, identity, 0).map_err(EbpfError::map(names::IDS, "write to it"))
    }

    fn forget_devices(&mut self, mut which: impl FnMut(&DeviceKey) -> bool) -> Result<(), EbpfError> {
        let keys = self.devices.keys().collect::<Result<Vec<_>, _>>();
        for key in keys.map_err(EbpfError::map(names::DEVICES, "read it"))? {
            if which(&key) {
                absent_is_fine(self.devices.remove(&key))
                    .map_err(EbpfError::map(names::DEVICES, "remove from it"))?;
            }
        }
        Ok(())
    }
}

/// Every slot as the map has it.
pub(super) fn read_table(slots: &Array<MapData, Slot>) -> Result<Vec<Slot>, EbpfError> {
    let read = |slot| slots.get(&slot, 0).map_err(EbpfError::map(names::SLOTS, "read it"));
    (0..MAX_SLOTS).map(read).collect()
}

fn zone_slots() -> std::ops::Range<u32> {
    HOST.slot + 1..MAX_SLOTS
}

pub(super) fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}
