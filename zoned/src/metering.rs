//! Between zones and the eBPF programs: who has a slot, whose figures and whose processes these are.
//!
//! Owns the one [`Kernel`] of this daemon, and knows the name of each zone by the id of its cgroup, for some time
//! after its end too: what its last processes did is read when it is gone.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::io::{Interest, unix::AsyncFd};
use uuid::Uuid;
use zoned_api::{
    ApiError, EventKind, Leftover, ZoneConfig, ZoneName,
    report::{Finding, Verdict},
    stat::{CpuStat, NetStat, PacketStat, ProcessStat},
};

use crate::{
    ebpf::{
        self, Access, DeviceKind, DeviceRule, EbpfError, Guarded, Interfaces, Kernel, Probe, Process,
        ProcessEvent, Protocol, Purpose, Reason, STANDARD_DEVICES, Traffic, fss::Scheduler,
    },
    events::escape,
    fault::{failed, whole},
    host::Host,
    plan::Identity,
    sys::readiness::watch,
};

/// Depth of a zone's cgroup below the root of cgroup2: `<root>/<name>/<zone>`.
const LEVEL: u32 = 2;

/// Ended boots whose names are still known.
const REMEMBERED: usize = 1024;

/// What meters the zones.
pub struct Metering {
    kernel: Mutex<Kernel>,
    names: Mutex<Names>,
}

impl fmt::Debug for Metering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metering").finish_non_exhaustive()
    }
}

/// What the programs counted of one zone.
#[derive(Debug, Default)]
pub struct Metered {
    /// CPU.
    pub cpu: CpuStat,
    /// Processes.
    pub processes: ProcessStat,
    /// Network; nothing for the host.
    pub net: NetStat,
}

/// Name of each zone by the id of its cgroup.
#[derive(Debug, Default)]
struct Names {
    by_cgroup: HashMap<u64, (Uuid, ZoneName)>,
    /// In the order of their beginning.
    order: VecDeque<u64>,
}

impl Metering {
    /// Takes over the programs that are pinned in `<run>/bpf`, or loads them.
    pub fn open(run_dir: &Path, zones_cgroup: &Path) -> Result<Self, EbpfError> {
        let options = ebpf::Options {
            pins: run_dir.join("bpf/zoned"),
            zones_cgroup: zones_cgroup.to_owned(),
            level: LEVEL,
        };
        Ok(Self { kernel: Mutex::new(Kernel::open(&options)?), names: Mutex::default() })
    }

    /// Begins to meter a boot, and lets it use the devices it may. Nothing of it runs yet.
    pub fn assign(&self, identity: &Identity, cgroup_id: u64, config: &ZoneConfig) -> Result<(), String> {
        // Looked at before the slot is taken: a device that is not there is the configuration's fault.
        let devices: Vec<_> =
            config.device.iter().map(|d| rule(Path::new(&d.path))).collect::<Result<_, _>>()?;
        self.know(identity, cgroup_id);
        let mut kernel = self.kernel();
        kernel.assign(identity.uuid, cgroup_id).map_err(|e| whole(&e))?;
        for device in STANDARD_DEVICES.into_iter().chain(devices) {
            kernel.allow_device(identity.uuid, device).map_err(|e| whole(&e))?;
        }
        Ok(())
    }

    /// Knows a boot that an earlier daemon began. One it had not come to meter yet is metered from here on.
    pub fn adopt(&self, identity: &Identity, cgroup_id: u64, config: &ZoneConfig) -> Result<(), String> {
        self.know(identity, cgroup_id);
        let assigned = self.kernel().assigned().map_err(|e| whole(&e))?;
        if assigned.iter().any(|a| a.zone == identity.uuid && a.cgroup_id == cgroup_id) {
            return Ok(());
        }
        self.assign(identity, cgroup_id, config)
    }

    /// Guards and counts a link of a zone's, before it is switched on.
    pub fn guard(&self, zone: &Uuid, link: &Guarded) -> Result<(), EbpfError> {
        self.kernel().guard(*zone, link)
    }

    /// Counts at its sockets what a zone sends and receives through interfaces that have no end on the host.
    pub fn count_sockets(&self, zone: &Uuid, cgroup: &Path, interfaces: Interfaces) -> Result<(), EbpfError> {
        self.kernel().count_sockets(*zone, cgroup, interfaces)
    }

    /// Ends to meter a zone, of which nothing runs any more.
    pub fn release(&self, zone: &Uuid) -> Result<(), String> {
        self.kernel().release(*zone).map_err(|e| whole(&e))
    }

    /// Figures of the host, and of every zone that runs, read at one moment.
    pub fn figures(&self) -> Result<HashMap<Option<Uuid>, Metered>, ApiError> {
        let all = self.kernel().figures().map_err(|e| failed(&e))?;
        Ok(all.iter().map(|figures| (figures.zone, convert(figures))).collect())
    }

    /// CPU time of every zone that runs, and how long its tasks waited for a CPU, nanoseconds.
    pub fn cpu_times(&self) -> Result<Vec<(Uuid, u64, u64)>, EbpfError> {
        self.kernel().cpu_times()
    }

    /// Zones that have a slot.
    pub fn assigned(&self) -> Result<Vec<ebpf::Assigned>, EbpfError> {
        self.kernel().assigned()
    }

    /// The fair-share scheduler: the one that works, or a new one.
    pub fn scheduler(&self) -> Result<Scheduler, EbpfError> {
        self.kernel().scheduler(LEVEL)
    }

    /// Has the kernel go back to its own scheduler, if it has one of an earlier daemon's.
    pub fn remove_scheduler(&self) {
        if let Err(e) = self.kernel().remove_scheduler() {
            tracing::warn!("{}", whole(&e));
        }
    }

    /// What this kernel takes of eBPF.
    pub fn probes() -> Vec<Finding> {
        let finding = |Probe { subject, purpose, result }: Probe| {
            let (verdict, found) = match result {
                Ok(()) => (Verdict::Good, "loads".to_owned()),
                Err(e) if purpose == Purpose::Needed => (Verdict::Missing, e),
                Err(e) => (Verdict::Limited, e),
            };
            let meaning = match (purpose, verdict) {
                (Purpose::Needed, Verdict::Good) => {
                    "metering, device policy, process events, guarded links work"
                }
                (Purpose::Needed, _) => "zoned cannot start: it meters every zone",
                (Purpose::Shares, Verdict::Good) => "a scheduler of zoned's can keep CPU shares",
                (Purpose::Shares, _) => "CPU shares are kept by the kernel's own scheduler",
                (Purpose::Later, Verdict::Good) => "not used by this build yet",
                (Purpose::Later, _) => "not used by this build yet, and will not be on this host",
            };
            Finding { subject: format!("eBPF {subject}"), verdict, found, meaning: meaning.into() }
        };
        ebpf::probe().into_iter().map(finding).collect()
    }

    /// Slots of zones that do not run, and programs attached for them.
    pub fn leftovers(&self, running: &BTreeSet<Uuid>) -> Vec<Leftover> {
        let kernel = self.kernel();
        let leftover = |kind: &str, object, zone: Uuid| {
            let uuid = Some(zone.to_string());
            (!running.contains(&zone)).then(|| Leftover { kind: kind.into(), object, uuid })
        };
        let slots = kernel.assigned().unwrap_or_default().into_iter();
        let slots = slots.filter_map(|slot| leftover("slot", slot.slot.to_string(), slot.zone));
        let pins = kernel.attached().unwrap_or_default().into_iter();
        let pins = pins.filter_map(|(zone, pin)| leftover("pin", pin.display().to_string(), zone));
        slots.chain(pins).collect()
    }

    /// Removes the programs and all they counted. For the end of a daemon that leaves no zone.
    pub fn unload(&self) {
        if let Err(e) = ebpf::unload(self.kernel().pins()) {
            tracing::warn!("{}", whole(&e));
        }
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn know(&self, identity: &Identity, cgroup_id: u64) {
        let mut names = self.names();
        names.by_cgroup.insert(cgroup_id, (identity.uuid, identity.name.clone()));
        names.order.push_back(cgroup_id);
        if names.order.len() > REMEMBERED
            && let Some(oldest) = names.order.pop_front()
        {
            names.by_cgroup.remove(&oldest);
        }
    }
}

/// Tells the journal what the programs tell, for as long as the daemon lives.
pub async fn listen(host: Arc<Host>) {
    let opened = {
        let mut kernel = host.metering.kernel();
        kernel.process_events().and_then(|events| Ok((events, kernel.log_lines()?)))
    };
    let (mut events, mut lines) = match opened {
        Ok(opened) => opened,
        Err(e) => return tracing::error!("process events: {}", whole(&e)),
    };
    let watched = readable(&events).and_then(|event| Ok((event, readable(&lines)?)));
    let (event, line) = match watched {
        Ok(watched) => watched,
        Err(e) => return tracing::error!("process events: cannot be waited for: {e}"),
    };
    loop {
        tokio::select! {
            ready = event.readable() => {
                let Ok(mut ready) = ready else { return };
                // Cleared before reading: what comes meanwhile makes it readable again.
                ready.clear_ready();
                events.read(|event| tell(&host, event));
                match events.lost() {
                    Ok(0) => {}
                    Ok(count) => host.journal.note(None, EventKind::Lost { count }),
                    Err(e) => tracing::warn!("{}", whole(&e)),
                }
            }
            ready = line.readable() => {
                let Ok(mut ready) = ready else { return };
                ready.clear_ready();
                lines.read();
            }
        }
    }
}

/// Waits for a ring buffer by a descriptor of its own, so that the reader stays free.
fn readable(ring: &impl AsRawFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    watch(crate::sys::readiness::duplicate(ring)?, Interest::READABLE)
}

fn tell(host: &Host, event: ProcessEvent) {
    let zone = host.metering.names().by_cgroup.get(&event.cgroup_id).map(|(_, name)| name.clone());
    let (pid, comm) = (event.pid, escape(&event.comm));
    let kind = match event.what {
        Process::Forked { child } => EventKind::Fork { pid, child, comm },
        Process::Executed => EventKind::Exec { pid, comm },
        Process::Exited { status } => EventKind::Exit { pid, comm, status },
    };
    host.journal.note(zone.as_ref(), kind);
}

fn convert(figures: &ebpf::Figures) -> Metered {
    let cpu = CpuStat {
        usage_ns: figures.usage_ns,
        cgroup_usage_ns: None,
        switches_voluntary: figures.switches_voluntary,
        switches_preempted: figures.switches_preempted,
        wait_ns: figures.wait_ns,
        wait_log2_us: figures.wait_log2_us.to_vec(),
    };
    let processes = ProcessStat {
        forks: figures.forks,
        execs: figures.execs,
        exits: figures.exits,
        ..ProcessStat::default()
    };
    Metered { cpu, processes, net: net(figures.net) }
}

/// Only what there was any of is named.
fn net(mut traffic: Traffic) -> NetStat {
    let mut net = NetStat::default();
    for (way, stat) in [(&mut traffic.received, &mut net.received), (&mut traffic.sent, &mut net.sent)] {
        for (protocol, name) in Protocol::ALL {
            let counted = way.of(protocol);
            let packets = PacketStat { packets: counted.packets, bytes: counted.bytes };
            if packets != PacketStat::default() {
                stat.total.packets += packets.packets;
                stat.total.bytes += packets.bytes;
                stat.protocols.insert(name.into(), packets);
            }
        }
    }
    let reasons =
        Reason::ALL.into_iter().map(|(reason, name)| (name.to_owned(), *traffic.dropped.of(reason)));
    net.dropped = reasons.filter(|(_, count)| *count > 0).collect();
    net
}

/// The rule for a device of the host's, by its node.
fn rule(path: &Path) -> Result<DeviceRule, String> {
    let node = std::fs::metadata(path).map_err(|e| format!("device {}: {e}", path.display()))?;
    let kind = match node.file_type() {
        t if t.is_char_device() => DeviceKind::Char,
        t if t.is_block_device() => DeviceKind::Block,
        _ => return Err(format!("device {}: is no device", path.display())),
    };
    let (major, minor) = (rustix::fs::major(node.rdev()), rustix::fs::minor(node.rdev()));
    Ok(DeviceRule { kind, major, minor: Some(minor), access: Access::READ_WRITE })
}
