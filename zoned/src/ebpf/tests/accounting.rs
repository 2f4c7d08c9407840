//! Figures against the kernel's own.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::host::{Host, Zone, go};
use crate::ebpf::STANDARD_DEVICES;

const BUSY: &str = "while :; do :; done";
const SLEEPING: &str = "exec perl -e 'while (1) { select(undef, undef, undef, 0.001); $i++ for 1..2000 }'";
const FORKING: &str = "while :; do /bin/true; done";

/// How far eBPF and the kernel may be apart, of the CPU time taken.
const TOLERANCE: f64 = 0.005;

#[test]
fn cpu_time_agrees_with_the_kernels_own() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let (zone, other) = (host.zone(), host.zone());
    for zone in [&zone, &other] {
        kernel.assign(zone.uuid, zone.id).unwrap();
        STANDARD_DEVICES.iter().for_each(|rule| kernel.allow_device(zone.uuid, *rule).unwrap());
    }
    let mut shells = [
        zone.shell("", BUSY),
        zone.shell("payload", SLEEPING),
        zone.shell("payload/deeper", FORKING),
        zone.shell("payload/deeper", BUSY),
    ];
    zone.wait_for_processes(shells.len());
    let mut others = [other.shell("", SLEEPING)];
    other.wait_for_processes(1);
    let before = [&zone, &other].map(|z| (z.figures(&mut kernel), z.kernel_usage_ns()));
    go(&mut shells);
    go(&mut others);
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    for (zone, (figures, usage)) in [&zone, &other].into_iter().zip(before) {
        // Asked one right after the other, and in turns: a reader may be kept waiting between the two.
        let apart = (0..5)
            .map(|_| {
                let by_kernel = (zone.kernel_usage_ns() - usage) as f64;
                let by_ebpf = (zone.figures(&mut kernel).usage_ns - figures.usage_ns) as f64;
                println!("eBPF {:.3} ms, kernel {:.3} ms", by_ebpf / 1e6, by_kernel / 1e6);
                (by_ebpf / by_kernel - 1.0).abs()
            })
            .fold(f64::INFINITY, f64::min);
        println!("apart by {:.4} % after {:?}", apart * 100.0, started.elapsed());
        assert!(apart < TOLERANCE, "apart by {:.2} %", apart * 100.0);
    }
    let now = zone.figures(&mut kernel);
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    let cpu = (now.usage_ns as f64) / started.elapsed().as_nanos() as f64;
    assert!(cpu > 0.1 && cpu < cpus + 0.1, "two busy shells cannot have taken {cpu} CPUs of {cpus}");
    assert!(now.switches_preempted > 10 && now.switches_voluntary > 100, "{now:?}");
    assert!(now.forks > 10 && now.execs > 10 && now.exits > 10, "{now:?}");
    stop(shells.into_iter().chain(others));
}

#[test]
fn waits_are_measured_and_sorted_by_length() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let zone = host.zone();
    kernel.assign(zone.uuid, zone.id).unwrap();
    // Three busy processes on one CPU: two of them wait at any time.
    let mut shells = [BUSY; 3].map(|script| zone.shell("", script));
    zone.wait_for_processes(shells.len());
    for shell in &shells {
        let pid = shell.id().to_string();
        assert!(Command::new("taskset").args(["-cp", "0", &pid]).output().unwrap().status.success());
    }
    let before = zone.figures(&mut kernel);
    let started = Instant::now();
    go(&mut shells);
    std::thread::sleep(Duration::from_secs(2));
    let elapsed = started.elapsed().as_nanos() as f64;
    let now = zone.figures(&mut kernel);
    let (ran, waited) = ((now.usage_ns - before.usage_ns) as f64, (now.wait_ns - before.wait_ns) as f64);
    // All three were always either on the CPU or waiting for it; a wait that has not ended is not counted yet.
    let accounted = (ran + waited) / (3.0 * elapsed);
    println!("ran {:.3}, waited {:.3}, of 3 × elapsed {accounted:.4}", ran / elapsed, waited / elapsed);
    assert!((0.90..1.01).contains(&accounted), "{accounted} of the time is accounted for");
    let sorted: u64 = now.wait_log2_us.iter().sum();
    let switches = now.switches_preempted + now.switches_voluntary;
    assert!(sorted > 100 && sorted <= switches + 4, "{sorted} waits and {switches} switches");
    let least: u64 = now.wait_log2_us.iter().enumerate().skip(1).map(|(i, count)| count * (1000 << i)).sum();
    let most: u64 = now.wait_log2_us.iter().enumerate().map(|(i, count)| count * (2000 << i)).sum();
    assert!((least..=most).contains(&now.wait_ns), "{least} ≤ {} ≤ {most}", now.wait_ns);
    stop(shells);
}

#[test]
fn another_boot_begins_at_zero_and_the_same_one_goes_on() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let (first, second) = (host.zone(), host.zone());
    let slot = kernel.assign(first.uuid, first.id).unwrap();
    run(&first, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; /bin/true; /bin/true");
    let taken = first.figures(&mut kernel);
    assert!(taken.usage_ns > 1_000_000 && taken.execs >= 2, "{taken:?}");
    assert_eq!(kernel.assign(first.uuid, first.id).unwrap(), slot);
    assert!(first.figures(&mut kernel).usage_ns >= taken.usage_ns);
    // The next boot of the zone has another cgroup; here it is another zone's folder.
    assert_eq!(kernel.assign(first.uuid, second.id).unwrap(), slot);
    let anew = first.figures(&mut kernel);
    assert_eq!((anew.usage_ns, anew.execs, anew.wait_ns), (0, 0, 0));
    run(&first, "/bin/true");
    assert_eq!(first.figures(&mut kernel).execs, 0, "what runs in the old cgroup is not the zone's");
    kernel.release(first.uuid).unwrap();
    kernel.release(first.uuid).unwrap();
    assert_eq!(kernel.assigned().unwrap(), []);
    assert_eq!(kernel.figures().unwrap().len(), 1);
}

#[test]
fn the_idle_cpu_is_nobodys() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let (started, idle) = (Instant::now(), idle());
    let before = kernel.figures().unwrap()[0].usage_ns;
    std::thread::sleep(Duration::from_secs(1));
    let used = kernel.figures().unwrap()[0].usage_ns - before;
    let cpus = std::thread::available_parallelism().unwrap().get() as u32;
    let idle = self::idle() - idle;
    // What a task has taken since the last tick is not charged yet, nor is time without work counted to the tick.
    let busy = (started.elapsed() * cpus).saturating_sub(idle) + Duration::from_millis(30) * cpus;
    assert!(u128::from(used) <= busy.as_nanos(), "{used} ns charged, {busy:?} busy, {idle:?} idle");
}

/// Time that all CPUs together were without work (proc_stat(5): `idle` and `iowait`).
fn idle() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields = stat.lines().next().unwrap().split_whitespace().skip(4).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn run(zone: &Zone, script: &str) {
    let mut shells = [zone.shell("", script)];
    go(&mut shells);
    assert!(shells[0].wait().unwrap().success());
}

fn stop(shells: impl IntoIterator<Item = Child>) {
    for mut shell in shells {
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
}
