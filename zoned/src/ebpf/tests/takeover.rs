//! A zoned that ends, is killed half-way or is upgraded, and the next one.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use aya::maps::{Array, Map, MapData};
use zone_ebpf_abi::{LAYOUT, Meta, names};

use super::host::{Host, Zone, go, wait_until};
use crate::ebpf::{DeviceRule, Figures, Kernel, STANDARD_DEVICES, open_map, pins::Pins, unload, working};

/// A zone with a busy shell in it, and null among its devices.
fn busy(host: &Host, kernel: &mut Kernel) -> (Zone, std::process::Child) {
    let zone = host.zone();
    kernel.assign(zone.uuid, zone.id).unwrap();
    STANDARD_DEVICES.into_iter().for_each(|rule: DeviceRule| kernel.allow_device(zone.uuid, rule).unwrap());
    let mut shells = [zone.shell("payload", "while :; do : < /dev/null || exit 1; /bin/true; done")];
    zone.wait_for_processes(1);
    go(&mut shells);
    let [shell] = shells;
    (zone, shell)
}

/// Nothing went back, and all of it goes on.
fn goes_on(zone: &Zone, kernel: &mut Kernel, before: &Figures) -> Figures {
    let at_once = zone.figures(kernel);
    let pairs = |f: &Figures| {
        [f.usage_ns, f.wait_ns, f.switches_preempted + f.switches_voluntary, f.forks, f.execs, f.exits]
    };
    for (before, after) in pairs(before).into_iter().zip(pairs(&at_once)) {
        assert!(after >= before, "{before} became {after}");
    }
    assert!(before.wait_log2_us.iter().zip(at_once.wait_log2_us).all(|(before, after)| after >= *before));
    let more = |now: &Figures| now.usage_ns > at_once.usage_ns && now.execs > at_once.execs + 5;
    assert!(wait_until(Duration::from_secs(10), || more(&zone.figures(kernel))), "it does not go on");
    zone.figures(kernel)
}

/// Ids of the programs' folder: another generation has other ones.
fn generation(host: &Host) -> u32 {
    working(&Pins::open(&host.options.pins).unwrap()).unwrap().unwrap().active
}

#[test]
fn the_next_zoned_finds_everything_as_it_was() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let (zone, mut shell) = busy(&host, &mut kernel);
    let before = goes_on(&zone, &mut kernel, &zone.figures(&mut host.open()));
    let assigned = kernel.assigned().unwrap();
    drop(kernel);
    let inode = |name: &str| {
        fs::metadata(host.options.pins.join(format!("layout-{LAYOUT}/programs-1")).join(name)).unwrap().ino()
    };
    let links = names::TRACEPOINTS.map(|(name, _)| inode(name));
    let mut kernel = host.open();
    assert_eq!(names::TRACEPOINTS.map(|(name, _)| inode(name)), links, "nothing was attached again");
    assert_eq!(kernel.assigned().unwrap(), assigned);
    assert_eq!(kernel.assign(zone.uuid, zone.id).unwrap(), assigned[0].slot);
    goes_on(&zone, &mut kernel, &before);
    assert!(shell.try_wait().unwrap().is_none(), "it may still use its devices");
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn programs_of_another_build_are_replaced_and_figures_kept() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let (zone, mut shell) = busy(&host, &mut kernel);
    let mut before = zone.figures(&mut kernel);
    let kernel_before = zone.kernel_usage_ns() as f64;
    let ebpf_before = before.usage_ns as f64;
    drop(kernel);
    for round in 2..5 {
        let pins = Pins::open(&host.options.pins).unwrap();
        let mut meta: Array<MapData, Meta> = open_map(&pins, names::META, Map::Array).unwrap();
        let as_it_is = meta.get(&0, 0).unwrap();
        meta.set(0, Meta { build: [round; 32], ..as_it_is }, 0).unwrap();
        let mut kernel = host.open();
        assert_eq!(generation(&host), u32::from(round));
        before = goes_on(&zone, &mut kernel, &before);
    }
    let apart =
        (before.usage_ns as f64 - ebpf_before) / (zone.kernel_usage_ns() as f64 - kernel_before) - 1.0;
    println!("three replacements, apart by {:.3} %", apart * 100.0);
    assert!(apart.abs() < 0.02, "a replacement loses nothing worth mentioning: {apart}");
    assert!(shell.try_wait().unwrap().is_none(), "it may still use its devices");
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn a_layout_that_is_not_ours_is_read_by_its_own_types() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let (zone, mut shell) = busy(&host, &mut kernel);
    let before = goes_on(&zone, &mut kernel, &zone.figures(&mut host.open()));
    let of_host = kernel.figures().unwrap()[0].clone();
    let assigned = kernel.assigned().unwrap();
    drop(kernel);
    let ours = host.options.pins.join(format!("layout-{LAYOUT}"));
    fs::rename(&ours, host.options.pins.join("layout-0")).unwrap();
    let mut kernel = host.open();
    assert_eq!(generation(&host), 1, "maps of our own were made");
    assert!(!host.options.pins.join("layout-0").exists());
    assert_eq!(kernel.assigned().unwrap(), assigned);
    let after = goes_on(&zone, &mut kernel, &before);
    assert!(kernel.figures().unwrap()[0].usage_ns >= of_host.usage_ns);
    assert!(shell.try_wait().unwrap().is_none(), "it may still use its devices");
    drop(kernel);
    // And what was carried stays carried.
    goes_on(&zone, &mut host.open(), &after);
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn what_a_killed_zoned_left_half_done_is_mended() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let zone = host.zone();
    kernel.assign(zone.uuid, zone.id).unwrap();
    // Killed after it recorded a zone and before the programs knew it; and the other way round.
    kernel.ids.remove(&zone.id).unwrap();
    kernel.ids.insert(4711, zone_ebpf_abi::Identity { slot: 7, generation: 1 }, 0).unwrap();
    drop(kernel);
    // Killed between making a folder for new programs and activating them.
    let stale = host.options.pins.join(format!("layout-{LAYOUT}/programs-9"));
    fs::create_dir(&stale).unwrap();
    // A tracepoint that is no longer attached.
    fs::remove_file(host.options.pins.join(format!("layout-{LAYOUT}/programs-1/zone_fork"))).unwrap();
    let mut kernel = host.open();
    assert!(!stale.exists());
    assert_eq!(kernel.ids.keys().map(Result::unwrap).collect::<Vec<_>>(), [zone.id]);
    let mut shells = [zone.shell("", "/bin/true; /bin/true")];
    go(&mut shells);
    shells[0].wait().unwrap();
    assert!(zone.figures(&mut kernel).forks >= 1, "forks are counted again");
}

#[test]
fn two_zoned_side_by_side_count_the_same() {
    let (Some(one), Some(two)) = (Host::new(), Host::new()) else { return };
    let (mut first, mut second) = (one.open(), two.open());
    let zone = one.zone();
    first.assign(zone.uuid, zone.id).unwrap();
    second.assign(zone.uuid, zone.id).unwrap();
    let mut shells = [zone.shell("", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; /bin/true")];
    go(&mut shells);
    shells[0].wait().unwrap();
    let (a, b) = (zone.figures(&mut first), zone.figures(&mut second));
    assert!(a.usage_ns > 5_000_000, "{a:?}");
    assert_eq!((a.usage_ns, a.forks, a.execs, a.exits), (b.usage_ns, b.forks, b.execs, b.exits));
    // Taking one away leaves the other.
    unload(&one.options.pins).unwrap();
    assert!(!Path::new(&one.options.pins).exists());
    let mut shells = [zone.shell("", "exec /bin/true")];
    go(&mut shells);
    shells[0].wait().unwrap();
    assert_eq!(zone.figures(&mut second).execs, b.execs + 1);
}
