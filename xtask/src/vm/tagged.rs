//! The tests that every change is also tried with on the newest kernel with cgroup2 alone: what depends on the kernel's
//! version, or on the version of its cgroups. They share ten minutes of an emulated machine.

/// Tests of a topic.
pub(super) struct Tagged {
    pub(super) topic: &'static str,
    /// Parts of their names; none: all of the topic.
    pub(super) tests: &'static [&'static str],
    /// What they can find here that they cannot find on the host.
    pub(super) why: &'static str,
}

pub(super) const TAGGED: &[Tagged] = &[
    Tagged {
        topic: "limits",
        tests: &[],
        why: "every limit is in another file of cgroup2, and shares are the scheduler's of this kernel",
    },
    Tagged {
        topic: "network",
        tests: &[],
        why: "nftables and links of another kernel, whose modules are loaded when they are asked for",
    },
    Tagged {
        topic: "accounting",
        tests: &[],
        why: "the eBPF programs pass another verifier and read other structures",
    },
    Tagged {
        topic: "lifecycle",
        tests: &["exec::", "states::", "pause::"],
        why: "zones are born into cgroup2 at once, frozen and killed there",
    },
];
