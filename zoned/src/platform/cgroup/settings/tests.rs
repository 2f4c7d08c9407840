//! What is written for which limits, on hosts as told.

use zoned_api::{ZoneConfig, config::CpuSet};

use super::*;

/// A host as told.
struct Told {
    version: Option<Version>,
    missing: &'static [&'static str],
    weighs: Vec<&'static str>,
    disks: Disks,
}

impl Sight for Told {
    fn version(&self, _: Controller) -> Option<Version> {
        self.version
    }
    fn has(&self, _: Controller, file: &str) -> bool {
        !self.missing.contains(&file)
    }
    fn cpus(&self) -> CpuSet {
        CpuSet::parse("0-3").unwrap()
    }
    fn weight_files(&self) -> Vec<&'static str> {
        self.weighs.clone()
    }
}

fn host(version: Option<Version>) -> Told {
    let disk = |minor| Disk { major: 8, minor };
    let disks = Disks { read: vec![disk(0)], written: vec![disk(16)], own: Some(disk(16)) };
    Told { version, missing: &[], weighs: vec![], disks }
}

fn files(host: &Told, keys: &str, made: bool) -> String {
    let limits = ZoneConfig::parse(&format!("zone: a\n{keys}")).unwrap().limits();
    let value = |value: &Value| match value {
        Value::Whole(text) => text.trim().to_owned(),
        Value::Inherited => "^".to_owned(),
        Value::Lines(lines) => format!("[{}]", lines.join(", ")),
    };
    let shown = |s: &Setting| format!("{}={}", s.file, value(&s.value));
    match settings(host, &limits, &host.disks, made) {
        Ok(all) => all.iter().map(shown).collect::<Vec<_>>().join(" "),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_zone_without_limits_writes_its_shares_alone() {
    assert_eq!(files(&host(Some(Version::One)), "", true), "cpu.shares=1000");
    assert_eq!(files(&host(Some(Version::Two)), "", true), "cpu.weight=100");
    assert_eq!(files(&host(None), "", true), "");
}

#[test]
fn shares_are_linear_over_their_whole_range_in_both_versions() {
    for (shares, one) in [(1, 10), (10, 100), (10_000, 100_000)] {
        let keys = format!("cpu: {{ shares: {shares} }}");
        assert_eq!(files(&host(Some(Version::One)), &keys, true), format!("cpu.shares={one}"));
        assert_eq!(files(&host(Some(Version::Two)), &keys, true), format!("cpu.weight={shares}"));
    }
    assert_eq!(files(&host(Some(Version::Two)), "cpu: { shares: 0 }", true), "cpu.idle=1");
}

#[test]
fn a_cap_is_one_of_each_disk() {
    let keys = "io: { read: 1M, write-iops: 70 }";
    assert_eq!(
        files(&host(Some(Version::One)), keys, true),
        "cpu.shares=1000 blkio.throttle.read_bps_device=[8:0 1048576] \
         blkio.throttle.write_iops_device=[8:16 70]"
    );
    assert_eq!(
        files(&host(Some(Version::Two)), keys, true),
        "cpu.weight=100 io.max=[8:0 rbps=1048576 wbps=max riops=max wiops=max, \
         8:16 rbps=max wbps=max riops=max wiops=70]"
    );
}

const ALL: &str =
    "cpu: { shares: 5, cap: 0.5, cpus: 0-1 }\nmemory: { limit: 64M, swap: 1M }\ntasks: { max: 9 }";

#[test]
fn every_limit_has_its_file_in_each_version() {
    assert_eq!(
        files(&host(Some(Version::One)), ALL, true),
        "cpu.shares=50 cpu.cfs_quota_us=50000 cpuset.cpus=0-1 memory.limit_in_bytes=67108864 \
         memory.memsw.limit_in_bytes=68157440 pids.max=9"
    );
    assert_eq!(
        files(&host(Some(Version::Two)), ALL, true),
        "cpu.weight=5 cpu.max=50000 100000 cpuset.cpus=0-1 memory.max=67108864 memory.swap.max=1048576 pids.max=9"
    );
}

#[test]
fn cpus_of_its_own_are_a_partition() {
    assert_eq!(
        files(&host(Some(Version::Two)), "cpu: { cpus: 1-2, dedicated: true }", true),
        "cpu.weight=100 cpuset.cpus=1-2 cpuset.cpus.exclusive=1-2 cpuset.cpus.partition=root"
    );
}

#[test]
fn a_key_taken_away_takes_its_limit_away() {
    let weighs = Told { weighs: vec!["blkio.bfq.weight"], ..host(Some(Version::One)) };
    assert_eq!(
        files(&weighs, "", false),
        "cpu.idle=0 cpu.shares=1000 cpu.cfs_quota_us=-1 cpuset.cpus=^ memory.limit_in_bytes=-1 \
         memory.memsw.limit_in_bytes=-1 pids.max=max blkio.bfq.weight=100 blkio.throttle.read_bps_device=[] \
         blkio.throttle.write_bps_device=[] blkio.throttle.read_iops_device=[] blkio.throttle.write_iops_device=[]"
    );
    assert_eq!(
        files(&host(Some(Version::Two)), "", false),
        "cpu.idle=0 cpu.weight=100 cpu.max=max 100000 cpuset.cpus= memory.high=max memory.max=max \
         memory.swap.max=max pids.max=max io.max=[]"
    );
}

#[test]
fn what_a_host_cannot_enforce_is_refused_with_the_reason() {
    let (one, two) = (host(Some(Version::One)), host(Some(Version::Two)));
    let bare =
        Told { missing: &["cpu.idle", "cpu.max", "memory.swap.max", EXCLUSIVE], ..host(Some(Version::Two)) };
    let shared = |version| {
        let disk = vec![Disk { major: 8, minor: 0 }];
        let disks = Disks { read: disk.clone(), written: disk, own: None };
        Told { disks, ..host(Some(version)) }
    };
    let (shared_one, shared_two) = (shared(Version::One), shared(Version::Two));
    let diskless = Told { disks: Disks::default(), ..host(Some(Version::Two)) };
    let throttleless = Told { missing: &["io.max"], ..host(Some(Version::Two)) };
    assert!(files(&shared_one, "io: { read: 1M, read-iops: 70 }", true).contains("8:0 70"));
    assert!(files(&shared_two, "io: { write: 1M }", true).contains("8:0 rbps=max wbps=1048576"));
    let cases = [
        (
            &shared_one,
            "io: { read: 1M, write: 1M }",
            "io.write: this host's io controller is of cgroup version 1",
        ),
        (&shared_one, "io: { write-iops: 99 }", "io.write-iops: this host's io controller is of"),
        (&diskless, "io: { read-iops: 99 }", "io.read-iops: the zones' files are on no block device"),
        (&throttleless, "io: { write: 1M }", "io.write: this kernel was built without caps of block devices"),
        (&host(None), "io: { write: 1M }", "io.write: this host has no io controller"),
        (&host(None), "cpu: { cap: 1 }", "cpu.cap: this host has no cpu controller for zones"),
        (&host(None), "memory: { swap: 0 }", "memory.swap: this host has no memory controller"),
        (&one, "memory: { high: 64M }", "version 1, which slows nobody down"),
        (&one, "memory: { swap: 0 }", "memory and swap together"),
        (&two, "cpu: { cpus: 2-5 }", "cpu.cpus: this host's zones have no CPU 4-5, only 0-3"),
        (&two, "io: { weight: 5 }", "no block device of this host shares by weight"),
        (
            &one,
            "cpu: { cpus: 1, dedicated: true }",
            "cpu.dedicated: this host's cpuset controller is of cgroup",
        ),
        (&two, "cpu: { cpus: 0-3, dedicated: true }", "cpu.dedicated: would leave nobody else a CPU"),
        (&bare, "cpu: { cpus: 1, dedicated: true }", "cpu.dedicated: this kernel gives a zone no CPUs"),
        (&bare, "cpu: { shares: 0 }", "cpu.idle"),
        (&bare, "cpu: { cap: 1 }", "built without caps"),
        (&bare, "memory: { swap: 1M }", "does not count swap space"),
    ];
    for (host, keys, says) in cases {
        assert!(files(host, keys, true).contains(says), "{keys}: {}", files(host, keys, true));
    }
}
