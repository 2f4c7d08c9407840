//! Shares inside of a zone: its own groups divide what it gets.

use std::{process::Child, thread::sleep, time::Duration};

use super::{Busy, SPARE, Stage, error, go, shares};

/// Groups of a zone with a weight and so many busy threads each.
fn busy(stage: &mut Stage, weight: u32, groups: &[(&str, u32, usize)]) -> Busy {
    let zone = stage.zone(weight);
    let mut shells: Vec<Child> = Vec::new();
    for (path, weight, threads) in groups {
        zone.inner(path, *weight);
        shells.extend((0..*threads).map(|_| zone.shell(path, "while :; do :; done")));
    }
    go(&mut shells);
    Busy { zone, shells }
}

/// What each of these groups had of all that they had in that time.
fn parts(busy: &Busy, groups: &[&str], time: Duration) -> Vec<f64> {
    let usage = || groups.iter().map(|group| busy.zone.usage_of(group) as f64).collect::<Vec<_>>();
    let before = usage();
    sleep(time);
    let had: Vec<_> = usage().iter().zip(before).map(|(after, before)| after - before).collect();
    let all: f64 = had.iter().sum();
    had.iter().map(|had| had / all).collect()
}

#[test]
fn groups_inside_a_zone_divide_its_time_by_their_weights() {
    let Some(mut stage) = Stage::new() else { return };
    let zone = busy(&mut stage, 100, &[("many", 100, 8), ("few", 300, 2)]);
    let mut all = stage.busy(&[(100, 3)]);
    all.insert(0, zone);
    sleep(Duration::from_secs(1));
    let inner = parts(&all[0], &["many", "few"], Duration::from_secs(8));
    let (between, cpus) = shares(&all, Duration::from_secs(4));
    println!("inside {inner:.4?}, zones {between:.4?} of {cpus:.3} CPUs");
    stage.still_works();
    assert!(cpus > 2.0 * SPARE && error(&between, &[100, 100]) <= 0.01);
    assert!(error(&inner, &[100, 300]) <= 0.03, "{inner:?}");
}

#[test]
fn groups_in_groups_divide_what_those_get_and_weights_change() {
    let Some(mut stage) = Stage::new() else { return };
    let groups = [("a/x", 100, 4), ("a/y", 100, 1), ("b", 200, 2)];
    let zone = busy(&mut stage, 100, &groups);
    let paths = groups.map(|(path, ..)| path);
    zone.zone.inner("a", 200);
    sleep(Duration::from_secs(1));
    let even = parts(&zone, &paths, Duration::from_secs(8));
    zone.zone.inner("a", 600);
    sleep(Duration::from_secs(1));
    let uneven = parts(&zone, &paths, Duration::from_secs(8));
    println!("{even:.4?}, then {uneven:.4?}");
    stage.still_works();
    // On two CPUs a group of one thread can have one; all of these have less.
    assert!(error(&even, &[1, 1, 2]) <= 0.03, "{even:?}");
    assert!(error(&uneven, &[3, 3, 2]) <= 0.03, "{uneven:?}");
}

#[test]
fn thousands_of_groups_in_a_zone_leave_room_for_others() {
    let Some(mut stage) = Stage::new() else { return };
    let hostile = stage.zone(100);
    // More than count.
    (0..1100).for_each(|n| hostile.inner(&format!("g{n}"), 10_000));
    let zone = busy(&mut stage, 100, &[("many", 100, 8), ("few", 300, 2)]);
    sleep(Duration::from_secs(1));
    let inner = parts(&zone, &["many", "few"], Duration::from_secs(6));
    println!("{inner:.4?}");
    stage.still_works();
    assert!(error(&inner, &[100, 300]) <= 0.03, "{inner:?}");
}
