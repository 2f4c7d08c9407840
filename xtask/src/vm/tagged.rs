//! The tests that every change is also tried with on the newest kernel with cgroup2 alone: what depends on the kernel's
//! version, or on the version of its cgroups. They share ten minutes of an emulated machine, of which these take five.

/// Tests of a topic.
pub(super) struct Tagged {
    pub(super) topic: &'static str,
    /// Parts of their names.
    pub(super) tests: &'static [&'static str],
    /// What they can find here that they cannot find on the host.
    pub(super) why: &'static str,
}

pub(super) const TAGGED: &[Tagged] = &[
    Tagged {
        topic: "limits",
        tests: &["bombs::a_", "changes::", "cpu::a_zone_runs_on_its_cpus_alone", "inside::", "refused::"],
        why: "every limit is in another file of cgroup2",
    },
    Tagged {
        topic: "isolation",
        tests: &["cgroups::", "devices::", "mounts::"],
        why: "the zone has the whole tree of groups before it, and newer calls to mount with",
    },
    Tagged {
        topic: "lifecycle",
        tests: &[
            "exec::a_",
            "pause::",
            "persistence::a_zone_whose_monitor_is_killed",
            "table::every_verb_while_running",
        ],
        why: "zones are born into cgroup2 at once, frozen and killed there",
    },
    Tagged {
        topic: "daemon",
        tests: &["zones_live_on", "whose_monitor_and_daemon_died"],
        why: "what a killed daemon leaves is found by its cgroups",
    },
    Tagged {
        topic: "accounting",
        tests: &["cpu_time_by_ebpf", "nested_groups"],
        why: "the eBPF programs pass another verifier and read other structures",
    },
    Tagged {
        topic: "network",
        tests: &["spoofing::what_is_not_its_own"],
        why: "nftables and links of another kernel, whose modules are loaded when they are asked for",
    },
];
