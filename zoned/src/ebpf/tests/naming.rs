//! What somebody with bpftool sees.

use std::{process::Command, time::Instant};

use super::host::{Host, go};
use crate::ebpf::pins::Pins;

#[test]
fn bpftool_prints_the_names_of_fields() {
    let Some(host) = Host::new() else { return };
    if Command::new("bpftool").arg("version").output().is_err() {
        println!("skipped: bpftool is not installed");
        return;
    }
    let mut kernel = host.open();
    let zone = host.zone();
    kernel.assign(zone.uuid, zone.id).unwrap();
    kernel.allow_device(zone.uuid, crate::ebpf::STANDARD_DEVICES[0]).unwrap();
    let mut shells = [zone.shell("", ":")];
    go(&mut shells);
    shells[0].wait().unwrap();
    let pins = Pins::open(&host.options.pins).unwrap();
    for (map, field) in [
        ("zone_meta", "active"),
        ("zone_slots", "cgroup_id"),
        ("zone_ids", "generation"),
        ("zone_figures", "wait_log2_us"),
        ("zone_carried", "usage_ns"),
        ("zone_running", "charged_ns"),
        ("zone_notes", "waiting_since"),
        ("zone_devices", "minor"),
        ("zone_lost", "warned_ns"),
    ] {
        let dump =
            Command::new("bpftool").args(["map", "dump", "pinned"]).arg(pins.map(map)).output().unwrap();
        let text = String::from_utf8_lossy(&dump.stdout);
        assert!(text.contains(&format!("\"{field}\":")), "{map}: {}", text.get(..400).unwrap_or(&text));
    }
}

#[test]
fn opening_does_not_take_long() {
    let Some(host) = Host::new() else { return };
    let time = |what: &str| {
        let started = Instant::now();
        drop(host.open());
        println!("{what}: {:?}", started.elapsed());
        started.elapsed()
    };
    let (loading, adopting) = (time("loading"), time("taking over"));
    assert!(adopting < loading, "what is there is not loaded again");
}
