//! Loading the programs, and taking over from those of an earlier zoned.
//!
//! New programs are attached beside the old ones and do nothing; then one write to `zone_meta` stops the old and
//! starts the new, with the same maps. A zoned that is killed in between leaves either the old ones working or the
//! new ones, and the folder of the others for the next one to remove.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, PerCpuValues},
    programs::{BtfTracePoint, CgroupDevice, CgroupSkb, RawTracePoint, SchedClassifier, links::FdLink},
};
use zone_ebpf_abi::{Running, names};

use super::{EbpfError, btf, pins::Pins};
use crate::sys::bpf;

pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Constants of the programs that differ between hosts and between generations.
struct Constants {
    values: Vec<(&'static str, u32)>,
}

impl Constants {
    fn resolve(level: u32, generation: u32) -> Result<Self, EbpfError> {
        let kernel = std::fs::read(VMLINUX).map_err(|source| EbpfError::NoBtf { source })?;
        Self::from_btf(kernel, level, generation).map_err(|source| EbpfError::Btf { source })
    }

    fn from_btf(kernel: Vec<u8>, level: u32, generation: u32) -> Result<Self, btf::BtfError> {
        let kernel = btf::Btf::parse(kernel)?;
        // The second argument says whether the whole process ended on newer kernels; before, there was one argument.
        let says = kernel.tracepoint_arguments("sched_process_exit")? > 1;
        let mut values = vec![
            (names::global::LEVEL, level),
            (names::global::GENERATION, generation),
            (names::global::SAYS_GROUP_DEAD, says.into()),
        ];
        for (name, structure, path) in names::global::OFFSETS {
            values.push((name, kernel.offset(structure, path)?));
        }
        Ok(Constants { values })
    }
}

/// What is to be loaded, and for whom.
pub(super) struct Install<'a> {
    pub(super) object: &'static [u8],
    pub(super) pins: &'a Pins,
    pub(super) level: u32,
    pub(super) generation: u32,
    pub(super) cgroup: &'a File,
}

impl Install<'_> {
    /// Loads, attaches and pins a generation of programs, which does not work yet. Maps that are pinned are used,
    /// those that are not are made and pinned, and filled by `fill` before any policy in them is enforced.
    pub(super) fn run(&self, fill: impl FnOnce() -> Result<(), EbpfError>) -> Result<(), EbpfError> {
        let kernel = Btf::from_sys_fs()
            .map_err(|e| EbpfError::Load { source: Box::new(aya::EbpfError::BtfError(e)) })?;
        let mut ebpf = self.load_maps(&kernel)?;
        fill()?;
        let folder = self.pins.begin_programs(self.generation)?;
        for (name, tracepoint) in names::TRACEPOINTS {
            attach_tracepoint(&mut ebpf, name, tracepoint, &kernel, &folder)?;
        }
        attach_device_policy(&mut ebpf, self.cgroup.as_fd(), &folder)?;
        pin_programs(&mut ebpf, &folder)
    }

    fn load_maps(&self, kernel: &Btf) -> Result<Ebpf, EbpfError> {
        let constants = Constants::resolve(self.level, self.generation)?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(kernel));
        for (name, value) in &constants.values {
            loader.override_global(name, value, true);
        }
        for name in names::MAPS {
            loader.map_pin_path(name, self.pins.map(name));
        }
        loader.load(self.object).map_err(|e| EbpfError::Load { source: Box::new(e) })
    }
}

fn attach_tracepoint(
    ebpf: &mut Ebpf,
    name: &str,
    tracepoint: &str,
    kernel: &Btf,
    folder: &Path,
) -> Result<(), EbpfError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.load(tracepoint, kernel).map_err(EbpfError::program(name, "load it"))?;
    let link = program.attach().and_then(|id| program.take_link(id));
    let link = FdLink::from(link.map_err(EbpfError::program(name, "attach it"))?);
    let path = folder.join(name);
    link.pin(&path).map(drop).map_err(|e| EbpfError::pin(&path, "pin a link")(std::io::Error::other(e)))
}

fn attach_device_policy(ebpf: &mut Ebpf, cgroup: BorrowedFd<'_>, folder: &Path) -> Result<(), EbpfError> {
    let name = names::DEVICE;
    let program: &mut CgroupDevice = program(ebpf, name)?;
    program.load().map_err(EbpfError::program(name, "load it"))?;
    let program = program.fd().map_err(EbpfError::program(name, "load it"))?;
    let link = bpf::attach(program.as_fd(), bpf::Hook::Devices(cgroup))
        .map_err(EbpfError::kernel(name, "attach it"))?;
    let path = folder.join(name);
    bpf::pin(link.as_fd(), &path).map_err(EbpfError::pin(&path, "pin a link"))
}

/// Those that are run, or attached where zones are.
fn pin_programs(ebpf: &mut Ebpf, folder: &Path) -> Result<(), EbpfError> {
    macro_rules! pin {
        ($kind:ty, $name:expr) => {{
            let (name, path) = ($name, folder.join($name));
            let program: &mut $kind = program(ebpf, name)?;
            program.load().map_err(EbpfError::program(name, "load it"))?;
            program
                .pin(&path)
                .map_err(|e| EbpfError::pin(&path, "pin a program")(std::io::Error::other(e)))?;
        }};
    }
    pin!(RawTracePoint, names::FLUSH);
    pin!(SchedClassifier, names::SENT);
    pin!(SchedClassifier, names::RECEIVED);
    pin!(CgroupSkb, names::SOCKET_SENT);
    pin!(CgroupSkb, names::SOCKET_RECEIVED);
    Ok(())
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, EbpfError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let missing = || EbpfError::Object { what: format!("has no program {name}") };
    ebpf.program_mut(name).ok_or_else(missing)?.try_into().map_err(EbpfError::program(name, "find it"))
}

/// Forgets what was running on each CPU when the programs that noted it were detached.
pub(super) fn forget_running(pins: &Pins) -> Result<(), EbpfError> {
    let name = names::RUNNING;
    let map = MapData::from_pin(pins.map(name)).map_err(EbpfError::map(name, "open its pin"))?;
    let mut running = PerCpuArray::try_from(aya::maps::Map::PerCpuArray(map))
        .map_err(EbpfError::map(name, "use it as it is pinned"))?;
    let cpus = super::possible_cpus()?;
    let nothing = PerCpuValues::try_from(vec![Running::default(); cpus])
        .map_err(|e| EbpfError::kernel(name, "write to it")(e))?;
    running.set(0, nothing, 0).map_err(EbpfError::map(name, "write to it"))
}
