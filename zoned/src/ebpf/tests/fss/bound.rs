//! Tasks that may use some CPUs only.

use std::{collections::BTreeMap, thread::sleep, time::Duration};

use super::{super::host::go, Busy, Stage, caches::told, error, shares};

/// A zone of that weight whose threads, one for each of those masks, never stop.
fn on_cpus(stage: &mut Stage, weight: u32, masks: &[&str]) -> Busy {
    let zone = stage.zone(weight);
    let script = |mask: &&str| format!("exec taskset {mask} sh -c 'while :; do :; done'");
    let mut shells: Vec<_> = masks.iter().map(|mask| zone.shell("payload", &script(mask))).collect();
    go(&mut shells);
    Busy { zone, shells }
}

/// CPU time that each thread of a zone's had in that time, seconds.
fn of_threads(busy: &Busy, time: Duration) -> Vec<f64> {
    let had = || {
        busy.shells
            .iter()
            .map(|shell| told(shell.id(), "sched", "se.sum_exec_runtime") / 1000.0)
            .collect::<Vec<_>>()
    };
    let before = had();
    sleep(time);
    had().iter().zip(before).map(|(after, before)| after - before).collect()
}

#[test]
fn zones_that_are_bound_to_one_cpu_share_it_whatever_the_others_come_to() {
    let Some(mut stage) = Stage::new() else { return };
    let all = [
        on_cpus(&mut stage, 100, &["1", "1"]),
        on_cpus(&mut stage, 300, &["1"]),
        // The whole of the other CPU for a third of that share: its virtual time goes far ahead.
        on_cpus(&mut stage, 100, &["2"]),
    ];
    sleep(Duration::from_secs(5));
    let (had, cpus) = shares(&all, Duration::from_secs(12));
    let first = had[0] + had[1];
    let error = error(&[had[0] / first, had[1] / first], &[100, 300]);
    println!("{had:.4?} of {cpus:.3} CPUs, on the first off by {:.2} %", 100.0 * error);
    stage.still_works();
    assert!(error <= 0.03, "{had:?}");
}

#[test]
fn a_thread_that_is_bound_is_served_though_its_zone_has_its_share_elsewhere() {
    let Some(mut stage) = Stage::new() else { return };
    // The second one has a CPU as good as for itself; the first is far ahead of it, by what it has of the other CPU.
    let both = on_cpus(&mut stage, 100, &["1", "2"]);
    let _other = on_cpus(&mut stage, 1000, &["1"]);
    sleep(Duration::from_secs(2));
    let had = of_threads(&both, Duration::from_secs(8));
    println!("{had:.3?} s of 8");
    // Within its zone too: it stands beside threads that may run anywhere.
    let inside = on_cpus(&mut stage, 100, &["1", "3", "3", "3"]);
    drop((both, _other));
    sleep(Duration::from_secs(1));
    let within = of_threads(&inside, Duration::from_secs(8));
    println!("{within:.3?} s of 8");
    stage.still_works();
    assert!(had[0] > 0.05 && within.iter().all(|had| *had > 1.0), "{had:?} {within:?}");
}

#[test]
fn what_has_waited_for_too_long_is_run_only_where_it_may() {
    let Some(mut stage) = Stage::new() else { return };
    let mut all = stage.busy(&[(100, 4)]);
    // All of them wait in one queue while their zone is throttled, and CPUs look there for those that have waited for long.
    let capped = on_cpus(&mut stage, 100, &["1", "2"].repeat(8));
    capped.zone.set("cpu.max", "1000 100000");
    stage.scheduler().place(&BTreeMap::from([(0, 0), (1, 1)])).unwrap();
    all.push(capped);
    let (shares, cpus) = shares(&all, Duration::from_secs(15));
    let zone = stage.scheduler().zone(2).unwrap();
    println!("{shares:.4?} of {cpus:.3} CPUs, {} rescues", zone.rescues);
    stage.still_works();
    assert!(zone.rescues > 0 && shares[1] < 0.02, "{shares:?} {zone:?}");
}

#[test]
fn a_process_that_comes_from_another_zone_does_not_pay_for_what_it_had_there() {
    let Some(mut stage) = Stage::new() else { return };
    let from = stage.busy(&[(100, 1)]);
    sleep(Duration::from_secs(8));
    let to = stage.busy(&[(100, 3)]);
    let moved = &from[0].shells[0];
    to[0].zone.set("payload/cgroup.procs", &moved.id().to_string());
    let had = of_threads(&from[0], Duration::from_secs(3))[0];
    println!("{had:.3} s of 3, of two CPUs for four");
    stage.still_works();
    assert!(had > 1.0, "{had}");
}
