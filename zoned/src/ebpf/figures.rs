//! What each zone has taken: the sum over all CPUs, as of now.

use std::os::fd::{AsFd, OwnedFd};

use uuid::Uuid;
use zone_ebpf_abi::{Figures as Raw, HOST, Identity, NetFigures, WAIT_BUCKETS, names};

use super::{EbpfError, Kernel};
use crate::sys::bpf;

/// What one zone has taken since it was assigned, or the host since the programs were first loaded. None of it ever
/// goes back while the zone keeps its cgroup, whatever becomes of zoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The zone; none for the host with everything that is in no zone.
    pub zone: Option<Uuid>,
    /// CPU time, nanoseconds, summed over all CPUs. Exact but for what has run since the last tick.
    pub usage_ns: u64,
    /// Times a task gave up the CPU by itself.
    pub switches_voluntary: u64,
    /// Times a task was taken off the CPU while it could still run.
    pub switches_preempted: u64,
    /// Time tasks waited in a run queue before they got a CPU, nanoseconds.
    pub wait_ns: u64,
    /// Number of waits whose length was in [2^i, 2^(i+1)) microseconds; the first also holds shorter ones, the last
    /// also longer ones.
    pub wait_log2_us: [u64; WAIT_BUCKETS],
    /// Processes that were forked by a process of the zone. (Its first one was not.)
    pub forks: u64,
    /// Programs that were executed.
    pub execs: u64,
    /// Processes that ended.
    pub exits: u64,
    /// What was sent and received. Nothing for the host.
    pub net: NetFigures,
}

impl Figures {
    fn new(zone: Option<Uuid>, raw: &Raw, net: NetFigures) -> Self {
        Figures {
            zone,
            usage_ns: raw.usage_ns,
            switches_voluntary: raw.switches_voluntary,
            switches_preempted: raw.switches_preempted,
            wait_ns: raw.wait_ns,
            wait_log2_us: raw.wait_log2_us,
            forks: raw.forks,
            execs: raw.execs,
            exits: raw.exits,
            net,
        }
    }
}

impl Kernel {
    /// The figures of the host, first, and of every zone that has a slot. Interrupts each CPU once, for less than a
    /// microsecond.
    pub fn figures(&mut self) -> Result<Vec<Figures>, EbpfError> {
        self.flush()?;
        let mut all = vec![Figures::new(None, &self.sum(HOST)?, NetFigures::begin(HOST.generation))];
        for (zone, identity) in self.identities()? {
            all.push(Figures::new(Some(zone), &self.sum(identity)?, self.sum_net(identity)?));
        }
        Ok(all)
    }

    /// CPU time and time of waiting for a CPU of every zone that has a slot, nanoseconds: what [`Kernel::figures`] says of them,
    /// for half of the system calls.
    pub fn cpu_times(&self) -> Result<Vec<(Uuid, u64, u64)>, EbpfError> {
        self.flush()?;
        let of = |(zone, identity)| self.sum(identity).map(|sum| (zone, sum.usage_ns, sum.wait_ns));
        self.identities()?.into_iter().map(of).collect()
    }

    /// Charges what is running right now on each CPU.
    pub(super) fn flush(&self) -> Result<(), EbpfError> {
        flush(&self.flush)
    }

    fn sum(&self, zone: Identity) -> Result<Raw, EbpfError> {
        let carried = self.carried.get(&zone.slot, 0).map_err(EbpfError::map(names::CARRIED, "read it"))?;
        let counted = self.counted.get(&zone.slot, 0).map_err(EbpfError::map(names::FIGURES, "read it"))?;
        let mut sum = Raw::begin(zone.generation);
        let own = std::iter::once(&carried).chain(counted.iter()).filter(|f| f.generation == zone.generation);
        own.for_each(|figures| sum.add(figures));
        Ok(sum)
    }

    fn sum_net(&self, zone: Identity) -> Result<NetFigures, EbpfError> {
        let cannot = |name| EbpfError::map(name, "read it");
        let carried = self.net_carried.get(&zone.slot, 0).map_err(cannot(names::NET_CARRIED))?;
        let counted = self.net.get(&zone.slot, 0).map_err(cannot(names::NET))?;
        let mut sum = NetFigures::begin(zone.generation);
        let all = std::iter::once(carried).chain(counted.iter().copied());
        all.filter(|figures| figures.generation == zone.generation).for_each(|figures| sum.add(figures));
        Ok(sum)
    }
}

/// Runs the flush program on each CPU.
pub(super) fn flush(program: &OwnedFd) -> Result<(), EbpfError> {
    let cpus = aya::util::online_cpus()
        .map_err(|(path, source)| EbpfError::kernel(path, "read which CPUs are online")(source))?;
    for cpu in cpus {
        match bpf::run_on_cpu(program.as_fd(), cpu) {
            // It went offline since; what ran on it has been switched away from.
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => {}
            other => other.map_err(EbpfError::kernel(names::FLUSH, "run it on a CPU"))?,
        }
    }
    Ok(())
}
