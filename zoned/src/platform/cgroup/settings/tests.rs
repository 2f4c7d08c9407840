//! What is written for which limits, on hosts as told.

use zoned_api::{ZoneConfig, config::CpuSet};

use super::*;

/// A host as told.
struct Told {
    version: Option<Version>,
    missing: &'static [&'static str],
    weighs: Vec<&'static str>,
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
    Told { version, missing: &[], weighs: vec![] }
}

fn files(host: &Told, keys: &str, made: bool) -> String {
    let limits = ZoneConfig::parse(&format!("zone: a\n{keys}")).unwrap().limits();
    let shown = |s: &Setting| format!("{}={}", s.file, s.value.as_deref().unwrap_or("^").trim());
    match settings(host, &limits, made) {
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
fn a_key_taken_away_takes_its_limit_away() {
    let weighs = Told { weighs: vec!["blkio.bfq.weight"], ..host(Some(Version::One)) };
    assert_eq!(
        files(&weighs, "", false),
        "cpu.idle=0 cpu.shares=1000 cpu.cfs_quota_us=-1 cpuset.cpus=^ memory.limit_in_bytes=-1 \
         memory.memsw.limit_in_bytes=-1 pids.max=max blkio.bfq.weight=100"
    );
    assert_eq!(
        files(&host(Some(Version::Two)), "", false),
        "cpu.idle=0 cpu.weight=100 cpu.max=max 100000 cpuset.cpus= memory.high=max memory.max=max \
         memory.swap.max=max pids.max=max"
    );
}

#[test]
fn what_a_host_cannot_enforce_is_refused_with_the_reason() {
    let (one, two) = (host(Some(Version::One)), host(Some(Version::Two)));
    let bare = Told { missing: &["cpu.idle", "cpu.max", "memory.swap.max"], ..host(Some(Version::Two)) };
    let cases = [
        (&host(None), "cpu: { cap: 1 }", "cpu.cap: this host has no cpu controller for zones"),
        (&host(None), "memory: { swap: 0 }", "memory.swap: this host has no memory controller"),
        (&one, "memory: { high: 64M }", "version 1, which slows nobody down"),
        (&one, "memory: { swap: 0 }", "memory and swap together"),
        (&two, "cpu: { cpus: 2-5 }", "cpu.cpus: this host's zones have no CPU 4-5, only 0-3"),
        (&two, "io: { weight: 5 }", "no block device of this host shares by weight"),
        (&bare, "cpu: { shares: 0 }", "cpu.idle"),
        (&bare, "cpu: { cap: 1 }", "built without caps"),
        (&bare, "memory: { swap: 1M }", "does not count swap space"),
    ];
    for (host, keys, says) in cases {
        assert!(files(host, keys, true).contains(says), "{keys}: {}", files(host, keys, true));
    }
}
