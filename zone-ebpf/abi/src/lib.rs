#![no_std]
//! What the eBPF programs and user space agree on: names, types of keys and values, limits, one layout version.
//!
//! Every map has one writer. *Policy* maps are written by user space and only read by the programs: [`Meta`],
//! [`Slot`], [`Identity`], [`DeviceKey`], [`Link`], [`AddressKey`], [`SocketKey`], carried figures. *State* maps are written by the programs and only
//! read by user space: [`Figures`], [`NetFigures`], [`Running`], [`TaskNote`], [`ProcessEvent`], [`Lost`]. So nothing is lost by two
//! writers, and a state entry is begun anew by its own writer when it meets a newer generation.
//!
//! The types are `repr(C)` without hidden padding, with named fields and units in the names: the maps carry BTF,
//! and `bpftool map dump` prints them. Anything changed here is a new [`LAYOUT`].

#[cfg(test)]
extern crate std;

mod device;
mod event;
mod figures;
pub mod frame;
pub mod fss;
pub mod names;
mod note;
mod traffic;
mod zone;

pub use device::{Access, DeviceKey, DeviceKind};
pub use event::{EventKind, Lost, ProcessEvent};
pub use figures::{Figures, Running, WAIT_BUCKETS, wait_bucket};
pub use note::{NOTES, Stamp, TaskNote};
pub use traffic::{
    AddressKey, ByProtocol, Dropped, Link, MAX_ADDRESSES, MAX_LINKS, NetFigures, Protocol, Reason, SocketKey,
    Traffic, mapped,
};
pub use zone::{HOST, Identity, Meta, Slot};

/// Version of all of the below. Maps of different layouts are never opened with each other's types.
pub const LAYOUT: u32 = 3;

/// Zones that can run at once, and the host in slot 0.
pub const MAX_SLOTS: u32 = 1024;

/// Device rules of all zones together.
pub const MAX_DEVICE_RULES: u32 = 32_768;

/// Size of the ring buffer of process events, in bytes: a power of two and a multiple of the page size.
pub const EVENT_BYTES: u32 = 512 * 1024;

/// Bytes of a task's name, the last one a NUL.
pub const COMM_BYTES: usize = 16;
