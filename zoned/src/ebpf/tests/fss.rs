//! The fair-share scheduler, where the kernel has sched_ext and no scheduler is loaded.

use std::{
    fs,
    process::Child,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use super::host::{Host, Zone, go, wait_until};
use crate::ebpf::{
    Kernel,
    fss::{Present, Scheduler, present},
};

/// There is one scheduler of a kernel's.
static ONE: Mutex<()> = Mutex::new(());

struct Stage {
    kernel: Kernel,
    scheduler: Option<Scheduler>,
    host: Host,
    _one: MutexGuard<'static, ()>,
}

impl Stage {
    fn new() -> Option<Self> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let host = Host::new()?;
        if present() != Present::None {
            println!("skipped: {:?}", present());
            return None;
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

    fn scheduler(&self) -> &Scheduler {
        self.scheduler.as_ref().unwrap()
    }

    /// Zones of those weights with so many threads each that never stop.
    fn busy(&mut self, zones: &[(u32, usize)]) -> Vec<Busy> {
        let busy = |&(weight, threads): &(u32, usize)| {
            let zone = self.host.zone();
            zone.set("cpu.weight", &weight.to_string());
            self.kernel.assign(zone.uuid, zone.id).unwrap();
            let script = "while :; do :; done";
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
        println!("the scheduler at the end: {:?}, {:?}", present(), self.scheduler().ended());
        self.scheduler.take().unwrap().stop().unwrap();
        assert!(wait_until(Duration::from_secs(5), || present() == Present::None), "it goes");
    }
}

struct Busy {
    zone: Zone,
    shells: Vec<Child>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.zone.set("cgroup.kill", "1");
        self.shells.iter_mut().for_each(|shell| {
            let _ = shell.wait();
        });
    }
}

/// CPU time of each zone in that time, as parts of all of it, and CPUs used altogether.
fn shares(zones: &[Busy], time: Duration) -> (Vec<f64>, f64) {
    let usage = || zones.iter().map(|busy| busy.zone.kernel_usage_ns()).collect::<Vec<_>>();
    let (before, begun) = (usage(), Instant::now());
    sleep(time);
    let (after, took) = (usage(), begun.elapsed());
    let had: Vec<_> = before.iter().zip(&after).map(|(b, a)| (a - b) as f64).collect();
    let all: f64 = had.iter().sum();
    (had.iter().map(|had| had / all).collect(), all / took.as_nanos() as f64)
}

/// The largest relative error against those weights.
fn error(shares: &[f64], weights: &[u32]) -> f64 {
    let sum: u32 = weights.iter().sum();
    let errors = shares.iter().zip(weights).map(|(share, weight)| {
        let ideal = f64::from(*weight) / f64::from(sum);
        (share - ideal).abs() / ideal
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn shares_hold_however_many_threads_there_are() {
    let Some(mut stage) = Stage::new() else { return };
    for zones in [
        &[(100, 16), (100, 2)][..],
        &[(100, 4), (200, 4), (400, 4)],
        &[(100, 2), (200, 2), (300, 2), (400, 2), (500, 2), (600, 2), (700, 2), (800, 2)],
    ] {
        let weights: Vec<_> = zones.iter().map(|(weight, _)| *weight).collect();
        let busy = stage.busy(zones);
        let (shares, cpus) = shares(&busy, Duration::from_secs(8));
        println!("{zones:?}: {shares:.4?}, {cpus:.3} CPUs, error {:.2} %", 100.0 * error(&shares, &weights));
        if error(&shares, &weights) > 0.05 {
            for slot in 0..20 {
                println!("{slot} {:?}", stage.scheduler().zone(slot).unwrap());
            }
        }
        assert_eq!(present(), Present::Ours, "{:?}", stage.scheduler().ended());
    }
}
