//! Many zones, and CPUs that come and go.

use std::{fs, process::Command, thread::sleep, time::Duration};

use super::{Busy, SPARE, Stage, error, go, shares};

/// Where the kernel is told whether to measure eBPF programs.
const MEASURE: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// How long the scheduler's programs ran in that time, nanoseconds, and how often a task was given a CPU.
fn cost(time: Duration) -> (u64, u64) {
    fs::write(MEASURE, "1").unwrap();
    let before = measured();
    sleep(time);
    let after = measured();
    fs::write(MEASURE, "0").unwrap();
    (after.0 - before.0, after.1 - before.1)
}

fn measured() -> (u64, u64) {
    let listed = Command::new("bpftool").args(["prog", "list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let number = |line: &str, name: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != name).skip(1);
        words.next().map_or(0, |word| word.parse::<u64>().unwrap())
    };
    // Nothing else here has such operations.
    let ours = listed.lines().filter(|line| line.contains(": struct_ops "));
    ours.fold((0, 0), |(ns, runs), line| {
        let run = if line.contains(" name running ") { number(line, "run_cnt") } else { 0 };
        (ns + number(line, "run_time_ns"), runs + run)
    })
}

#[test]
#[ignore = "takes two minutes"]
fn of_a_thousand_zones_two_hundred_divide_the_cpus_at_the_cost_of_three() {
    let Some(mut stage) = Stage::new() else { return };
    let few = stage.busy(&[(100, 1), (100, 1), (100, 1)]);
    let (ns, switches) = cost(Duration::from_secs(10));
    let three = ns as f64 / switches as f64;
    drop(few);
    // Two hundred zones have five hundred times what the host has else: it would take hours to look at them.
    stage.scheduler().weigh_host(10_000).unwrap();
    let others: Vec<_> = (0..800).map(|_| stage.zone(100)).collect();
    let weights: Vec<u32> = (0..200).map(|n| 100 * (1 + n % 4)).collect();
    let busy: Vec<_> = weights.iter().map(|weight| (*weight, 1)).collect();
    let all = stage.busy(&busy);
    sleep(Duration::from_secs(5));
    let (ns, switches) = cost(Duration::from_secs(10));
    let thousand = ns as f64 / switches as f64;
    let (shares, cpus) = shares(&all, Duration::from_secs(60));
    let error = error(&shares, &weights);
    println!("{cpus:.3} CPUs, error of 200 zones {:.2} %", 100.0 * error);
    println!("a switch of 3 zones {three:.0} ns, of 200 in {} {thousand:.0} ns", others.len() + 200);
    stage.still_works();
    assert!(error <= 0.05, "{error}");
    // A tree of thousands is 12 steps deep, one of three 2.
    assert!(thousand < 4.0 * three, "{three} {thousand}");
}

/// Takes a CPU away from the host, or gives it back.
fn online(cpu: u32, yes: bool) {
    fs::write(format!("/sys/devices/system/cpu/cpu{cpu}/online"), if yes { "1" } else { "0" }).unwrap();
}

struct Back(u32);

impl Drop for Back {
    fn drop(&mut self) {
        online(self.0, true);
    }
}

#[test]
#[ignore = "takes a CPU away from the host"]
fn cpus_come_and_go_under_load() {
    let Some(mut stage) = Stage::new() else { return };
    let mut all = stage.busy(&[(100, 4), (300, 4)]);
    let zone = stage.zone(100);
    let mut shells: Vec<_> =
        (0..3).map(|_| zone.shell("payload", "exec taskset 2 sh -c 'while :; do :; done'")).collect();
    go(&mut shells);
    all.push(Busy { zone, shells });
    // A CPU that is gone nobody can be bound to.
    sleep(Duration::from_secs(1));
    let _back = Back(1);
    for round in 0..5 {
        online(1, false);
        sleep(Duration::from_millis(500));
        let (one, cpus) = shares(&all, Duration::from_secs(4));
        stage.still_works();
        assert!(cpus > SPARE && cpus < 1.05, "one CPU is left: {cpus}");
        // What was bound to the CPU that went may use any now.
        assert!(error(&one, &[100, 300, 100]) < 0.05, "{one:?}");
        online(1, true);
        sleep(Duration::from_millis(500));
        let (two, cpus) = shares(&all, Duration::from_secs(4));
        stage.still_works();
        println!("round {round}: one CPU {one:.4?}, both {two:.4?} of {cpus:.3}");
        assert!(cpus > 2.0 * SPARE, "{cpus}");
        assert!(error(&two, &[100, 300, 100]) < 0.05, "{two:?}");
    }
    assert!(
        all.iter_mut().flat_map(|busy| &mut busy.shells).all(|shell| shell.try_wait().unwrap().is_none())
    );
}
