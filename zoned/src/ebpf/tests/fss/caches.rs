//! Where there are several last level caches, a task stays at its own, and gets what it got.

use std::{collections::BTreeMap, fs, thread::sleep, time::Duration};

use super::{Busy, Stage, error, shares};

/// A number that the kernel tells of a process in one of its files, there by that name.
pub(super) fn told(pid: u32, file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn of_all(zones: &[Busy], name: &str) -> Vec<f64> {
    let shells = zones.iter().flat_map(|busy| &busy.shells);
    shells.map(|shell| told(shell.id(), "sched", name)).collect()
}

#[test]
fn a_task_stays_at_its_cache_and_gets_what_it_got() {
    let Some(mut stage) = Stage::new() else { return };
    let busy = stage.busy(&[(100, 4), (200, 4)]);
    let mut moved = [0.0; 2];
    for (moved, caches) in moved.iter_mut().zip([[(0, 0), (1, 0)], [(0, 0), (1, 1)]]) {
        stage.scheduler().place(&BTreeMap::from(caches)).unwrap();
        sleep(Duration::from_secs(1));
        let before = (of_all(&busy, "se.nr_migrations"), of_all(&busy, "se.sum_exec_runtime"));
        let (shares, cpus) = shares(&busy, Duration::from_secs(8));
        let after = (of_all(&busy, "se.nr_migrations"), of_all(&busy, "se.sum_exec_runtime"));
        *moved = before.0.iter().zip(&after.0).map(|(before, after)| after - before).sum();
        let had: Vec<_> = before.1.iter().zip(&after.1).map(|(before, after)| after - before).collect();
        let inner = had.chunks(4).map(|had| {
            let all: f64 = had.iter().sum();
            error(&had.iter().map(|had| had / all).collect::<Vec<_>>(), &[1; 4])
        });
        let inner = inner.fold(0.0, f64::max);
        let error = error(&shares, &[100, 200]);
        println!(
            "{caches:?}: {moved} moves, {shares:.4?} of {cpus:.3} CPUs, off by {:.2} %, in a zone {:.2} %",
            100.0 * error,
            100.0 * inner
        );
        stage.still_works();
        assert!(error <= 0.01 && inner <= 0.03, "{error} {inner}");
    }
    assert!(moved[1] < moved[0] / 2.0, "{moved:?}");
}
