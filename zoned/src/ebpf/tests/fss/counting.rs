//! What is counted while the scheduler comes and goes.

use std::{thread::sleep, time::Duration};

use super::{Busy, Stage, go};

/// CPU time is counted where the kernel switches tasks, whoever decided it, so there is no change-over that could lose or
/// double it; and the scheduler does not see all: what runs in a real-time class is none of its tasks.
#[test]
fn nothing_is_lost_or_counted_twice_over_its_coming_and_going() {
    let Some(mut stage) = Stage::new() else { return };
    let mut all = stage.light(&[(100, 3)]);
    let zone = stage.zone(100);
    let mut shells = vec![
        zone.shell("payload", "exec chrt -f 1 sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'"),
    ];
    go(&mut shells);
    // Beside one that does not end, a scheduler takes minutes to come.
    assert!(shells[0].wait().unwrap().success());
    all.push(Busy { zone, shells });
    for _ in 0..3 {
        sleep(Duration::from_secs(1));
        stage.scheduler.take().unwrap().stop().unwrap();
        sleep(Duration::from_secs(1));
        stage.scheduler = Some(stage.kernel.scheduler(2).unwrap());
    }
    sleep(Duration::from_secs(1));
    for (slot, busy) in (1..).zip(&mut all) {
        // To wait for them has the kernel bring its figures up to date.
        busy.zone.set("cgroup.kill", "1");
        busy.shells.iter_mut().for_each(|shell| drop(shell.wait()));
        busy.zone.wait_for_processes(0);
        let (kernels, ours) = (busy.zone.kernel_usage_ns(), busy.zone.figures(&mut stage.kernel).usage_ns);
        let scheduled = stage.scheduler().zone(slot).unwrap().usage_ns;
        let apart = (ours as f64 - kernels as f64) / kernels as f64;
        println!(
            "kernel {kernels} ns, eBPF {ours} ({:.3} %), of that by zone-fss {scheduled}",
            100.0 * apart
        );
        assert!(apart.abs() < 0.002, "{apart}");
        assert!(slot == 1 || scheduled < ours / 2, "a real-time task is none of the scheduler's");
    }
}
