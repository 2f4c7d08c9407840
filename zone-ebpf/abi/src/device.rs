//! Which devices a zone may use.

/// Kind of a device node, as the kernel numbers it for device programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum DeviceKind {
    /// Block device.
    Block = 1,
    /// Character device.
    Char = 2,
}

/// What may be done with a device: a set of bits, as the kernel numbers them for device programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Access(pub u32);

impl Access {
    /// Make a node of it.
    pub const MKNOD: Access = Access(1);
    /// Open it for reading.
    pub const READ: Access = Access(2);
    /// Open it for writing.
    pub const WRITE: Access = Access(4);
    /// Open it in any way.
    pub const READ_WRITE: Access = Access(2 | 4);
    /// All of the above.
    pub const ALL: Access = Access(1 | 2 | 4);
}

impl core::ops::BitOr for Access {
    type Output = Access;
    fn bitor(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }
}

/// What a rule is about. Its value is the set of [`Access`] bits that are allowed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceKey {
    /// The zone: rules of an earlier generation match nothing.
    pub slot: u32,
    /// The zone.
    pub generation: u32,
    /// One of [`DeviceKind`].
    pub kind: u32,
    /// Major number.
    pub major: u32,
    /// Minor number, or [`DeviceKey::ANY_MINOR`].
    pub minor: u32,
}

impl DeviceKey {
    /// Every minor number of the major number (Linux' own have 20 bits).
    pub const ANY_MINOR: u32 = u32::MAX;
}

// SAFETY: repr(C), integers only, no padding; every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for DeviceKey {}
