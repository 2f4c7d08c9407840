//! Which zone a task belongs to.

/// What holds for all maps of one set of pins.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// [`crate::LAYOUT`] of the maps.
    pub layout: u32,
    /// The generation of programs that works; those of any other generation do nothing. 0: none yet. Writing it
    /// hands over from old programs to new ones at one instant.
    pub active: u32,
    /// What those programs were made from: a digest of the object and of its load-time constants.
    pub build: [u8; 32],
}

/// Who has a slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The zone.
    pub uuid: [u8; 16],
    /// Id of the cgroup of the zone's current boot; 0 if the slot is free. The kernel never gives an id twice.
    pub cgroup_id: u64,
    /// Grows with every assignment of the slot, and stays when it is released.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
}

/// What the programs know a zone by: an index into the arrays, and whose turn with that index it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Below [`crate::MAX_SLOTS`].
    pub slot: u32,
    /// [`Slot::generation`].
    pub generation: u32,
}

/// The host, with everything that is in no zone.
pub const HOST: Identity = Identity { slot: 0, generation: 1 };

// SAFETY: repr(C), integers only, no padding; every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Meta {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Slot {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Identity {}
