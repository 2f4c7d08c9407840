//! The fair-share scheduler, where the kernel has sched_ext and no scheduler is loaded.

mod bound;
mod caches;
mod counting;
mod inner;
mod many;
mod stage;

use std::{
    fs,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use self::stage::{Busy, SPARE, Stage, error, shares};
use super::host::{Zone, go, wait_until};
use crate::ebpf::fss::{Present, present};

#[test]
fn shares_hold_however_many_threads_there_are() {
    let Some(mut stage) = Stage::new() else { return };
    for (zones, most) in [
        (&[(100, 16), (100, 2)][..], 0.01),
        (&[(100, 4), (200, 4), (400, 4)], 0.01),
        (&[(100, 12), (300, 3)], 0.01),
        (&[(100, 2), (200, 2), (300, 2), (400, 2), (500, 2), (600, 2), (700, 2), (800, 2)], 0.02),
    ] {
        let weights: Vec<_> = zones.iter().map(|(weight, _)| *weight).collect();
        let busy = stage.busy(zones);
        let (shares, cpus) = shares(&busy, Duration::from_secs(8));
        let error = error(&shares, &weights);
        println!("{zones:?}: {shares:.4?}, {cpus:.3} CPUs, error {:.2} %", 100.0 * error);
        stage.still_works();
        assert!(error <= most, "{error}");
    }
}

#[test]
fn a_zone_that_has_too_few_threads_leaves_the_rest_to_the_others() {
    let Some(mut stage) = Stage::new() else { return };
    let busy = stage.busy(&[(100, 1), (200, 1), (400, 1)]);
    let (shares, cpus) = shares(&busy, Duration::from_secs(8));
    // The third zone can use one CPU; the others have what is left.
    let left = (cpus - 1.0) / 3.0;
    let error = error(&shares, &[left, 2.0 * left, 1.0]);
    println!("{shares:.4?}, {cpus:.3} CPUs, error {:.2} %", 100.0 * error);
    stage.still_works();
    assert!(error <= 0.02, "{error}");
}

#[test]
fn a_zone_without_shares_gets_what_nobody_wants() {
    let Some(mut stage) = Stage::new() else { return };
    let idle = stage.busy(&[(100, 4)]).remove(0);
    idle.zone.set("cpu.idle", "1");
    let mut all = vec![idle];
    let (_, alone) = shares(&all, Duration::from_secs(4));
    all.extend(stage.busy(&[(100, 4)]));
    let (shares, cpus) = shares(&all, Duration::from_secs(8));
    println!("alone {alone:.3} CPUs; under load {:.3} % of {cpus:.3}", 100.0 * shares[0]);
    println!("{:?}", stage.scheduler().zone(1).unwrap());
    stage.still_works();
    assert!(alone > 0.95 * 2.0 * SPARE && shares[0] < 0.005);
}

#[test]
fn a_cap_is_kept_by_who_has_many_threads_and_by_who_is_alone() {
    let Some(mut stage) = Stage::new() else { return };
    let capped = stage.busy(&[(100, 8)]).remove(0);
    capped.zone.set("cpu.max", "50000 100000");
    sleep(Duration::from_secs(1));
    let mut all = vec![capped];
    let (_, alone) = shares(&all, Duration::from_secs(8));
    all.extend(stage.busy(&[(100, 2)]));
    let (shares, cpus) = shares(&all, Duration::from_secs(8));
    let beside = shares[0] * cpus;
    println!("cap 0.5: {alone:.4} alone, {beside:.4} beside another, which got {:.3}", shares[1] * cpus);
    stage.still_works();
    assert!((alone - 0.5).abs() <= 0.01 && (beside - 0.5).abs() <= 0.01);
}

#[test]
fn shares_change_within_a_second() {
    let Some(mut stage) = Stage::new() else { return };
    let busy = stage.busy(&[(100, 4), (200, 4), (400, 4)]);
    for weights in [[400, 200, 100], [100, 100, 1000]] {
        busy.iter().zip(weights).for_each(|(busy, weight)| busy.zone.set("cpu.weight", &weight.to_string()));
        sleep(Duration::from_secs(1));
        let (shares, cpus) = shares(&busy, Duration::from_secs(8));
        let error = error(&shares, &weights);
        println!("{weights:?}: {shares:.4?}, {cpus:.3} CPUs, error {:.2} %", 100.0 * error);
        stage.still_works();
        assert!(error <= 0.01, "{error}");
    }
}

#[test]
fn shares_are_taken_away_and_given_back() {
    let Some(mut stage) = Stage::new() else { return };
    let busy = stage.busy(&[(300, 4), (100, 4)]);
    for idle in ["1", "0"] {
        busy[0].zone.set("cpu.idle", idle);
        sleep(Duration::from_secs(1));
        let (shares, cpus) = shares(&busy, Duration::from_secs(6));
        println!("idle {idle}: {shares:.4?}, {cpus:.3} CPUs");
        stage.still_works();
        match idle {
            "1" => assert!(shares[0] < 0.005, "{shares:?}"),
            _ => assert!(error(&shares, &[300, 100]) < 0.01, "{shares:?}"),
        }
    }
}

#[test]
fn the_host_has_the_shares_it_was_given() {
    let Some(mut stage) = Stage::new() else { return };
    let zones = stage.busy(&[(100, 3)]);
    let hog = || std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let _hogs: Vec<_> = (0..3).map(|_| Hog(hog())).collect();
    for (weight, part) in [(300, 0.25), (100, 0.5), (50, 2.0 / 3.0)] {
        stage.scheduler().weigh_host(weight).unwrap();
        sleep(Duration::from_secs(1));
        let (_, cpus) = shares(&zones, Duration::from_secs(6));
        println!("host {weight}, zone 100: {cpus:.3} CPUs of 2");
        assert!((cpus / 2.0 - part).abs() < 0.02, "{cpus}");
    }
    stage.still_works();
}

/// A process of the host's that ends with this.
struct Hog(Child);

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn threads_bound_to_some_cpus_and_nice_ones_buy_a_zone_nothing() {
    let Some(mut stage) = Stage::new() else { return };
    let mut all = stage.busy(&[(100, 2)]);
    for (weight, with) in [(100, "taskset 1"), (200, "nice -n -20"), (200, "taskset 2 nice -n 19")] {
        let zone = stage.zone(weight);
        let script = format!("exec {with} sh -c 'while :; do :; done'");
        let mut shells: Vec<_> = (0..8).map(|_| zone.shell("payload", &script)).collect();
        go(&mut shells);
        all.push(Busy { zone, shells });
    }
    sleep(Duration::from_secs(1));
    let (shares, cpus) = shares(&all, Duration::from_secs(8));
    let error = error(&shares, &[100, 100, 200, 200]);
    println!("{shares:.4?}, {cpus:.3} CPUs, error {:.2} %", 100.0 * error);
    stage.still_works();
    assert!(error <= 0.03, "{error}");
}

#[test]
fn a_zone_that_wakes_is_served_before_those_that_are_busy() {
    let Some(mut stage) = Stage::new() else { return };
    let _busy = stage.busy(&[(100, 8), (100, 8)]);
    let zone = stage.zone(100);
    let ours = late(&zone);
    stage.still_works();
    stage.scheduler.take().unwrap().stop().unwrap();
    let kernels = late(&zone);
    println!("99 of 100 wake within {ours:.2} ms, under the kernel's own scheduler {kernels:.2} ms");
    assert!(ours <= f64::max(5.0, kernels / 2.0));
}

/// By how many milliseconds a task that sleeps most of the time is late in 99 of 100 cases.
fn late(zone: &Zone) -> f64 {
    let mut sleeper = zone.shell("payload", &format!("exec {}", sleeper_command()));
    go(std::slice::from_mut(&mut sleeper));
    let said = String::from_utf8(sleeper.wait_with_output().unwrap().stdout).unwrap();
    println!("{}", said.lines().find(|line| line.starts_with("p50")).unwrap());
    said.split("p99 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn sleeper_command() -> String {
    let program = std::env::current_exe().unwrap();
    format!("{} --ignored --exact ebpf::tests::fss::sleeper --nocapture", program.display())
}

/// Run by the test above in a zone of its own: how late it is after each of many sleeps.
#[test]
#[ignore = "a part of another test"]
fn sleeper() {
    let mut late: Vec<_> = (0..400)
        .map(|_| {
            let (begun, time) = (Instant::now(), Duration::from_millis(10));
            sleep(time);
            (begun.elapsed() - time).as_secs_f64() * 1000.0
        })
        .collect();
    late.sort_by(f64::total_cmp);
    println!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", late[200], late[396], late[399]);
}

#[test]
fn when_the_kernel_takes_it_away_everybody_runs_on_and_it_says_why() {
    let Some(mut stage) = Stage::new() else { return };
    let busy = stage.busy(&[(100, 4), (300, 4)]);
    fs::write("/proc/sysrq-trigger", "S").unwrap();
    assert!(wait_until(Duration::from_secs(1), || present() == Present::None), "{:?}", present());
    let ended = stage.scheduler().ended().unwrap().unwrap();
    println!("{ended:?}");
    assert!(ended.reason.contains("sysrq"), "{ended:?}");
    let (_, cpus) = shares(&busy, Duration::from_secs(2));
    assert!(cpus > 2.0 * SPARE * 0.9, "{cpus}");
    stage.scheduler.take().unwrap().stop().unwrap();
    stage.scheduler = Some(stage.kernel.scheduler(2).unwrap());
    assert_eq!(stage.scheduler().ended().unwrap(), None, "the new one has not ended");
    let (shares, _) = shares(&busy, Duration::from_secs(4));
    assert!(error(&shares, &[100, 300]) < 0.03, "{shares:?}");
}

#[test]
#[ignore = "takes a minute"]
fn hundreds_of_threads_that_nobody_serves_are_no_way_to_have_it_taken_away() {
    let Some(mut stage) = Stage::new() else { return };
    let mut all = stage.busy(&[(100, 4)]);
    let (idle, capped) = (stage.zone(100), stage.zone(100));
    for (zone, with) in [(idle, ""), (capped, "taskset 1 ")] {
        let script = format!(
            "i=0; while [ $i -lt 300 ]; do {with}sh -c 'while :; do :; done' & i=$((i+1)); done; wait"
        );
        let mut shells = vec![zone.shell("payload", &script)];
        go(&mut shells);
        assert!(wait_until(Duration::from_secs(120), || zone.processes() > 300), "{} came", zone.processes());
        all.push(Busy { zone, shells });
    }
    all[1].zone.set("cpu.idle", "1");
    all[2].zone.set("cpu.max", "1000 100000");
    // Longer than the kernel waits for anybody.
    let (shares, cpus) = shares(&all, Duration::from_secs(45));
    println!("{shares:.4?} of {cpus:.3} CPUs");
    (1..=3).for_each(|slot| println!("{:?}", stage.scheduler().zone(slot).unwrap()));
    stage.still_works();
    assert!(shares[0] > 0.9, "{shares:?}");
}

#[test]
#[ignore = "takes minutes, and emulated processors only in turns: the kernel rewrites itself at each change of scheduler"]
fn it_comes_and_goes_a_hundred_times_without_a_trace() {
    let Some(mut stage) = Stage::new() else { return };
    let mut light = stage.light(&[(100, 4), (300, 4)]);
    let (before, begun) = (objects(), Instant::now());
    for _ in 0..100 {
        stage.scheduler.take().unwrap().stop().unwrap();
        assert!(wait_until(Duration::from_secs(5), || present() == Present::None));
        stage.scheduler = Some(stage.kernel.scheduler(2).unwrap());
    }
    println!("a hundred times in {:?}", begun.elapsed());
    nothing_is_lost(&mut light, before);
    let busy = stage.busy(&[(100, 4), (300, 4)]);
    let (shares, _) = shares(&busy, Duration::from_secs(4));
    assert!(error(&shares, &[100, 300]) < 0.03, "{shares:?}");
}

#[test]
#[ignore = "as above"]
fn twenty_times_taken_away_it_loses_nobody() {
    let Some(mut stage) = Stage::new() else { return };
    let mut light = stage.light(&[(100, 4), (300, 4)]);
    let before = objects();
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        fs::write("/proc/sysrq-trigger", "S").unwrap();
        assert!(wait_until(Duration::from_secs(1), || present() == Present::None), "{:?}", present());
        longest = longest.max(begun.elapsed());
        let (had, _) = shares(&light, Duration::from_millis(500));
        assert!(had.iter().all(|had| *had > 0.0), "everybody runs on: {had:?}");
        stage.scheduler.take().unwrap().stop().unwrap();
        stage.scheduler = Some(stage.kernel.scheduler(2).unwrap());
    }
    println!("the kernel's own was back within {longest:?}");
    nothing_is_lost(&mut light, before);
}

/// Nobody has ended, and there are no more programs, maps and links than before. What has been let go is freed some time later.
fn nothing_is_lost(zones: &mut [Busy], before: [usize; 3]) {
    let ended = |shell: &mut Child| shell.try_wait().unwrap().is_some();
    assert!(!zones.iter_mut().flat_map(|zone| &mut zone.shells).any(ended));
    assert!(wait_until(Duration::from_secs(10), || objects() == before), "{before:?} {:?}", objects());
}

fn objects() -> [usize; 3] {
    ["prog", "map", "link"].map(bpf_objects)
}

/// How many eBPF objects of that kind there are, as bpftool says.
fn bpf_objects(kind: &str) -> usize {
    let listed = std::process::Command::new("bpftool").args([kind, "list"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter(|l| l.starts_with(|c: char| c.is_ascii_digit()))
        .count()
}
