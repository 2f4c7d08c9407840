//! The stage of these tests: a scheduler, zones that are busy, and what they get.

use std::{
    fs,
    process::Child,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use super::super::host::{Host, Zone, go, wait_until};
use crate::ebpf::{
    Kernel, STANDARD_DEVICES,
    fss::{Present, Scheduler, present},
};

/// There is one scheduler of a kernel's.
static ONE: Mutex<()> = Mutex::new(());

/// What of the CPUs zones can have at least, where little else runs.
pub(super) const SPARE: f64 = 0.9;

pub(super) struct Stage {
    pub(super) kernel: Kernel,
    pub(super) scheduler: Option<Scheduler>,
    pub(super) host: Host,
    _one: MutexGuard<'static, ()>,
}

impl Stage {
    pub(super) fn new() -> Option<Self> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let host = Host::new()?;
        match present() {
            Present::None => {}
            Present::Unknown => {
                println!("skipped: this kernel has no sched_ext");
                return None;
            }
            other => {
                println!("skipped: a scheduler is loaded already: {other:?}");
                return None;
            }
        }
        let root = host.options.zones_cgroup.parent().unwrap();
        fs::write(root.join("cgroup.subtree_control"), "+cpu").unwrap();
        fs::write(host.options.zones_cgroup.join("cgroup.subtree_control"), "+cpu").unwrap();
        let kernel = host.open();
        let scheduler = match kernel.scheduler(host.options.level) {
            Ok(scheduler) => scheduler,
            Err(e) => panic!("{}", crate::fault::whole(&e)),
        };
        Some(Stage { kernel, scheduler: Some(scheduler), host, _one: one })
    }

    pub(super) fn still_works(&self) {
        assert_eq!(present(), Present::Ours, "{:?}", self.scheduler().ended());
    }

    pub(super) fn zone(&mut self, weight: u32) -> Zone {
        let zone = self.host.zone();
        zone.set("cpu.weight", &weight.to_string());
        self.kernel.assign(zone.uuid, zone.id).unwrap();
        // A shell gives what runs in its background /dev/null.
        STANDARD_DEVICES.iter().for_each(|rule| self.kernel.allow_device(zone.uuid, *rule).unwrap());
        zone
    }

    pub(super) fn scheduler(&self) -> &Scheduler {
        self.scheduler.as_ref().unwrap()
    }

    /// Zones of those weights with so many threads each that never stop.
    pub(super) fn busy(&mut self, zones: &[(u32, usize)]) -> Vec<Busy> {
        self.working(zones, "while :; do :; done")
    }

    /// The same with threads that work and sleep. Where emulated processors run in turns, each change of the kernel's own code
    /// waits for a turn of every one that is busy, and a scheduler that comes makes dozens.
    pub(super) fn light(&mut self, zones: &[(u32, usize)]) -> Vec<Busy> {
        self.working(zones, "while :; do i=0; while [ $i -lt 200 ]; do i=$((i+1)); done; sleep 0.05; done")
    }

    fn working(&mut self, zones: &[(u32, usize)], script: &str) -> Vec<Busy> {
        let busy = |&(weight, threads): &(u32, usize)| {
            let zone = self.zone(weight);
            let shells = (0..threads).map(|_| zone.shell("payload", script)).collect();
            Busy { zone, shells }
        };
        let mut all: Vec<_> = zones.iter().map(busy).collect();
        all.iter_mut().for_each(|busy| go(&mut busy.shells));
        sleep(Duration::from_millis(500));
        all
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let Some(scheduler) = self.scheduler.take() else { return };
        scheduler.stop().unwrap();
        assert!(wait_until(Duration::from_secs(5), || present() == Present::None), "it goes");
    }
}

pub(super) struct Busy {
    pub(super) zone: Zone,
    pub(super) shells: Vec<Child>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        // To exit takes CPU time, as zoned knows too.
        self.zone.set("cpu.idle", "0");
        self.zone.set("cpu.max", "max");
        self.zone.set("cgroup.kill", "1");
        self.shells.iter_mut().for_each(|shell| {
            let _ = shell.wait();
        });
    }
}

/// CPU time of each zone in that time, as parts of all of it, and CPUs used altogether.
pub(super) fn shares(zones: &[Busy], time: Duration) -> (Vec<f64>, f64) {
    let usage = || zones.iter().map(|busy| busy.zone.kernel_usage_ns()).collect::<Vec<_>>();
    let (before, begun) = (usage(), Instant::now());
    sleep(time);
    let (after, took) = (usage(), begun.elapsed());
    let had: Vec<_> = before.iter().zip(&after).map(|(b, a)| (a - b) as f64).collect();
    let all: f64 = had.iter().sum();
    (had.iter().map(|had| had / all).collect(), all / took.as_nanos() as f64)
}

/// The largest relative error against those weights.
pub(super) fn error<W: Copy + Into<f64>>(shares: &[f64], weights: &[W]) -> f64 {
    let sum: f64 = weights.iter().map(|weight| (*weight).into()).sum();
    let errors = shares.iter().zip(weights).map(|(share, weight)| {
        let ideal = (*weight).into() / sum;
        (share - ideal).abs() / ideal
    });
    errors.fold(0.0, f64::max)
}
