//! What can go wrong between zoned and its eBPF programs.

use std::{io, path::PathBuf};

use aya::{maps::MapError, programs::ProgramError};
use uuid::Uuid;

use super::btf::BtfError;

/// What can go wrong between zoned and its eBPF programs.
#[derive(Debug, thiserror::Error)]
pub enum EbpfError {
    /// zoned was compiled where the programs had not been built.
    #[error("zoned was built without its eBPF programs; build it with `cargo xtask build`")]
    Stub,
    /// The embedded object is not what this zoned was written for.
    #[error("embedded eBPF object: {what}; build both again with `cargo xtask build`")]
    Object {
        /// What is wrong with it.
        what: String,
    },
    /// The folder for pins is on another file system.
    #[error("pins {path}: not on a bpffs; mount one with `mount -t bpf none FOLDER`")]
    NotBpffs {
        /// The folder.
        path: PathBuf,
    },
    /// A folder or pin could not be worked with.
    #[error("pin {path}: cannot {doing}")]
    Pin {
        /// What was worked on.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The zones' cgroup could not be opened.
    #[error("cgroup {path}: cannot open it for the device policy")]
    Cgroup {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel's BTF lacks something the programs need.
    #[error("this kernel's BTF (/sys/kernel/btf/vmlinux) does not do; CONFIG_DEBUG_INFO_BTF is needed")]
    Btf {
        /// What it lacks.
        source: BtfError,
    },
    /// The kernel's BTF could not be read.
    #[error("/sys/kernel/btf/vmlinux: cannot read it; CONFIG_DEBUG_INFO_BTF is needed")]
    NoBtf {
        /// Why not.
        source: io::Error,
    },
    /// The object could not be prepared, or its maps not made.
    #[error("eBPF object: cannot be loaded")]
    Load {
        /// Why not.
        source: Box<aya::EbpfError>,
    },
    /// A program was refused or could not be attached.
    #[error("eBPF program {name}: cannot {doing}")]
    Program {
        /// Which.
        name: String,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: Box<ProgramError>,
    },
    /// Operations of the kernel's could not be put in the place of its own.
    #[error("eBPF object: cannot be registered")]
    StructOps {
        /// Why not.
        source: Box<super::struct_ops::StructOpsError>,
    },
    /// A map could not be read or written.
    #[error("eBPF map {name}: cannot {doing}")]
    Map {
        /// Which.
        name: &'static str,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: Box<MapError>,
    },
    /// A system call of ours failed.
    #[error("eBPF {object}: cannot {doing}")]
    Kernel {
        /// On what.
        object: String,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The kernel's log lines cannot be read.
    #[error("eBPF log: cannot be read")]
    Log {
        /// Why not.
        source: Box<aya_log::Error>,
    },
    /// There are too many zones.
    #[error("zone {zone}: no slot is free, {} zones run already", zone_ebpf_abi::MAX_SLOTS - 1)]
    NoSlot {
        /// The zone.
        zone: Uuid,
    },
    /// The zone has no slot.
    #[error("zone {zone}: has no slot, it was not assigned or has been released")]
    NotAssigned {
        /// The zone.
        zone: Uuid,
    },
}

impl EbpfError {
    pub(super) fn pin(path: &std::path::Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| EbpfError::Pin { path, doing, source }
    }

    pub(super) fn map(name: &'static str, doing: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| EbpfError::Map { name, doing, source: Box::new(source) }
    }

    pub(super) fn program<E: Into<ProgramError>>(name: &str, doing: &'static str) -> impl FnOnce(E) -> Self {
        let name = name.to_owned();
        move |source| EbpfError::Program { name, doing, source: Box::new(source.into()) }
    }

    pub(super) fn kernel(object: &str, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let object = object.to_owned();
        move |source| EbpfError::Kernel { object, doing, source }
    }
}
