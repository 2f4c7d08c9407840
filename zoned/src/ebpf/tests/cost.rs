//! What the programs cost at each switch.

use std::{
    fs,
    io::{PipeReader, PipeWriter, Read, Write},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::host::{Host, Zone, hierarchy};
use crate::ebpf::unload;

/// Round trips that are timed together: short enough to fall between two ticks now and then.
const ROUNDS: u32 = 250;
/// How many of these a phase has, with the programs or without.
const CHUNKS: usize = 400;
const PHASES: usize = 6;

/// Nanoseconds a switch, the fastest chunk: two threads on one CPU that wake each other through pipes.
fn ping_pong() -> f64 {
    let ((mut here, mut to_here), (mut there, mut to_there)) =
        (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let other = thread::spawn(move || {
        undisturbed();
        // Until the other one has closed its end.
        while pass(&mut there, &mut to_here).is_some() {}
    });
    let this = thread::spawn(move || {
        undisturbed();
        let mut fastest = Duration::MAX;
        for _ in 0..CHUNKS {
            let started = Instant::now();
            for _ in 0..ROUNDS {
                to_there.write_all(&[0]).unwrap();
                here.read_exact(&mut [0]).unwrap();
            }
            fastest = fastest.min(started.elapsed());
        }
        fastest
    });
    let fastest = this.join().unwrap();
    other.join().unwrap();
    fastest.as_nanos() as f64 / f64::from(2 * ROUNDS)
}

fn pass(from: &mut PipeReader, to: &mut PipeWriter) -> Option<()> {
    let mut byte = [0];
    from.read_exact(&mut byte).ok()?;
    to.write_all(&byte).ok()
}

fn undisturbed() {
    let mut cpu = CpuSet::new();
    cpu.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpu).unwrap();
    rustix::process::setpriority_process(None, -20).unwrap();
}

/// Takes this process into a zone, and back when it is dropped.
struct Inside(String);

impl Inside {
    fn enter(zone: &Zone) -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let back = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
        zone.enter();
        Inside(back)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let root = hierarchy("cgroup2", None).unwrap();
        fs::write(root.join(&self.0).join("cgroup.procs"), "0").unwrap();
    }
}

#[test]
#[ignore = "a measurement: takes an idle machine, and takes the whole process into a zone"]
fn cost_of_a_switch() {
    let Some(host) = Host::new() else { return };
    let [mut host_without, mut host_with, mut zone_without, mut zone_with] = [f64::INFINITY; 4];
    // In turns, so that what else the machine does falls on all. A cgroup that is not the root costs by itself.
    for _ in 0..PHASES {
        let zone = host.zone();
        host_without = host_without.min(ping_pong());
        let inside = Inside::enter(&zone);
        zone_without = zone_without.min(ping_pong());
        drop(inside);
        let mut kernel = host.open();
        kernel.assign(zone.uuid, zone.id).unwrap();
        host_with = host_with.min(ping_pong());
        let inside = Inside::enter(&zone);
        zone_with = zone_with.min(ping_pong());
        drop(inside);
        let figures = zone.figures(&mut kernel);
        assert!(figures.switches_voluntary > u64::from(ROUNDS) * CHUNKS as u64, "{figures:?}");
        unload(&host.options.pins).unwrap();
    }
    let more = [host_with - host_without, zone_with - zone_without];
    println!("ns a switch: on the host {host_without:.0} and {:.0} more with the programs", more[0]);
    println!("ns a switch: in a zone {zone_without:.0} and {:.0} more with the programs", more[1]);
    assert!(more[1] < 300.0, "more than 300 ns a switch");
}
