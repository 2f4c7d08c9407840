//! What the programs tell as it happens: processes that come and go, and log lines.
//!
//! Both come through ring buffers that are pinned: what happened while no zoned read them is still there, as far as
//! they reach. A ring buffer has one reader; the descriptor of each polls readable when there is something.

use std::os::fd::{AsRawFd, RawFd};

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya_log::EbpfLogger;
use tracing_log::LogTracer;
use zone_ebpf_abi::{COMM_BYTES, EventKind, Lost, ProcessEvent as Raw, names};

use super::{EbpfError, Kernel, open_map, pins::Pins};
use crate::sys::bpf;

/// Something a process of a zone did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// The zone, by the id of its cgroup, as given to [`Kernel::assign`]. It may have been released since.
    pub cgroup_id: u64,
    /// When, nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// The process, in the host's numbering.
    pub pid: u32,
    /// Name of its program, at most 15 bytes. The zone chooses it, and any byte but NUL may be in it: escape it
    /// before it is shown.
    pub comm: Vec<u8>,
    /// What it did.
    pub what: Process,
}

/// What a process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It made another one.
    Forked {
        /// The new one, in the host's numbering.
        child: u32,
    },
    /// It executed a program.
    Executed,
    /// It ended.
    Exited {
        /// Wait status as wait(2) has it.
        status: u32,
    },
}

/// Reader of process events. For tokio's `AsyncFd`; read until nothing is left, then wait.
pub struct ProcessEvents {
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, Lost>,
    lost_before: u64,
}

impl ProcessEvents {
    /// Reads all events that are there.
    pub fn read(&mut self, mut each: impl FnMut(ProcessEvent)) {
        while let Some(item) = self.ring.next() {
            if let Some(event) = decode(&item) {
                each(event);
            }
        }
    }

    /// How many events were lost since this was last asked (or since the reader was opened) because the ring buffer
    /// was full.
    pub fn lost(&mut self) -> Result<u64, EbpfError> {
        let so_far = total_lost(&self.lost)?;
        let since = so_far - self.lost_before;
        self.lost_before = so_far;
        Ok(since)
    }
}

impl AsRawFd for ProcessEvents {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// Reader of the programs' log lines, which go to `tracing`. For tokio's `AsyncFd`, like [`ProcessEvents`].
pub struct LogLines {
    logger: EbpfLogger<LogTracer>,
}

impl LogLines {
    /// Hands all lines that are there to `tracing`, each with the target and level that the program gave it.
    pub fn read(&mut self) {
        self.logger.flush();
    }
}

impl AsRawFd for LogLines {
    fn as_raw_fd(&self) -> RawFd {
        self.logger.as_raw_fd()
    }
}

impl Kernel {
    /// The process events. One reader at a time: two would each miss some.
    pub fn process_events(&mut self) -> Result<ProcessEvents, EbpfError> {
        let pins = Pins::open(&self.pins)?;
        let ring = open_map(&pins, names::EVENTS, Map::RingBuf)?;
        let lost = open_map(&pins, names::LOST, Map::PerCpuArray)?;
        Ok(ProcessEvents { ring, lost_before: total_lost(&lost)?, lost })
    }

    /// The programs' log lines. One reader at a time.
    pub fn log_lines(&mut self) -> Result<LogLines, EbpfError> {
        // aya-log finds its ring buffer through a program that writes to it.
        let path = self.programs.join("zone_switch");
        let link = bpf::get_pinned(&path).and_then(|link| bpf::link_info(&link));
        let program = link.map_err(EbpfError::pin(&path, "open it"))?.program_id;
        let logger = EbpfLogger::init_from_id_with_logger(program, LogTracer::new());
        logger.map(|logger| LogLines { logger }).map_err(|e| EbpfError::Log { source: Box::new(e) })
    }
}

fn total_lost(lost: &PerCpuArray<MapData, Lost>) -> Result<u64, EbpfError> {
    let each = lost.get(&0, 0).map_err(EbpfError::map(names::LOST, "read it"))?;
    Ok(each.iter().map(|lost| lost.count).sum())
}

fn decode(bytes: &[u8]) -> Option<ProcessEvent> {
    // The layout of `Raw`; the kernel hands out what the program wrote, at a multiple of 8 bytes.
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let at = std::mem::offset_of!(Raw, comm);
    let comm = bytes.get(at..at + COMM_BYTES)?;
    let detail = word(std::mem::offset_of!(Raw, detail))?;
    let what = match word(std::mem::offset_of!(Raw, kind))? {
        k if k == EventKind::Fork as u32 => Process::Forked { child: detail },
        k if k == EventKind::Exec as u32 => Process::Executed,
        k if k == EventKind::Exit as u32 => Process::Exited { status: detail },
        _ => return None,
    };
    Some(ProcessEvent {
        cgroup_id: long(std::mem::offset_of!(Raw, cgroup_id))?,
        at_ns: long(std::mem::offset_of!(Raw, at_ns))?,
        pid: word(std::mem::offset_of!(Raw, pid))?,
        comm: comm.split(|b| *b == 0).next().unwrap_or_default().to_vec(),
        what,
    })
}
