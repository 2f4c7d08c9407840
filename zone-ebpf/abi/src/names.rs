//! Names of maps, programs and load-time constants. The kernel keeps the first 15 bytes of a name.

/// One [`crate::Meta`].
pub const META: &str = "zone_meta";
/// Slot → [`crate::Slot`].
pub const SLOTS: &str = "zone_slots";
/// Id of a zone's cgroup → [`crate::Identity`].
pub const IDS: &str = "zone_ids";
/// Slot → [`crate::Figures`] of each CPU.
pub const FIGURES: &str = "zone_figures";
/// Slot → [`crate::Figures`] that were counted by programs of another layout.
pub const CARRIED: &str = "zone_carried";
/// [`crate::Running`] of each CPU.
pub const RUNNING: &str = "zone_running";
/// Low bits of a pid → [`crate::TaskNote`].
pub const NOTES: &str = "zone_notes";
/// Slot → generation that has been seen running.
pub const SEEN: &str = "zone_seen";
/// Number of a link's host's end → [`crate::Link`].
pub const LINKS: &str = "zone_links";
/// [`crate::AddressKey`] → 1.
pub const ADDRESSES: &str = "zone_addresses";
/// [`crate::SocketKey`] → 1.
pub const SOCKETS: &str = "zone_sockets";
/// Slot → [`crate::NetFigures`] of each CPU.
pub const NET: &str = "zone_net";
/// Slot → [`crate::NetFigures`] that were counted by programs of another layout.
pub const NET_CARRIED: &str = "zone_net_before";
/// [`crate::DeviceKey`] → bits of [`crate::Access`].
pub const DEVICES: &str = "zone_devices";
/// Ring buffer of [`crate::ProcessEvent`].
pub const EVENTS: &str = "zone_events";
/// [`crate::Lost`] of each CPU.
pub const LOST: &str = "zone_lost";
/// Ring buffer of log lines (aya-log's name).
pub const LOGS: &str = "AYA_LOGS";

/// Every map, in no order that matters.
pub const MAPS: [&str; 17] = [
    META,
    SLOTS,
    IDS,
    FIGURES,
    CARRIED,
    RUNNING,
    NOTES,
    SEEN,
    LINKS,
    ADDRESSES,
    SOCKETS,
    NET,
    NET_CARRIED,
    DEVICES,
    EVENTS,
    LOST,
    LOGS,
];

/// The program that user space runs on a CPU to charge what is running there.
pub const FLUSH: &str = "zone_flush";
/// The device policy of all zones.
pub const DEVICE: &str = "zone_device";

/// Where a zone's link ends on the host: what comes from the zone, guarded and counted.
pub const SENT: &str = "zone_sent";
/// At the same place: what goes to the zone, counted.
pub const RECEIVED: &str = "zone_received";
/// At a zone's sockets, where its interfaces have no end on the host: what it sends, counted.
pub const SOCKET_SENT: &str = "zone_sock_sent";
/// Likewise: what it receives.
pub const SOCKET_RECEIVED: &str = "zone_sock_recv";

/// Programs on BTF tracepoints, each with its tracepoint. (There is no tracefs behind these.)
pub const TRACEPOINTS: [(&str, &str); 6] = [
    ("zone_wakeup", "sched_wakeup"),
    ("zone_wakeup_new", "sched_wakeup_new"),
    ("zone_switch", "sched_switch"),
    ("zone_fork", "sched_process_fork"),
    ("zone_exec", "sched_process_exec"),
    ("zone_exit", "sched_process_exit"),
];

/// Load-time constants, all `u32`.
pub mod global {
    /// The layout that the object was built with: read by user space, never set.
    pub const LAYOUT: &str = "ZONE_LAYOUT";
    /// Depth of a zone's cgroup below the root of cgroup2.
    pub const LEVEL: &str = "ZONE_LEVEL";
    /// Which generation of programs these are: they work while [`crate::Meta::active`] says the same.
    pub const GENERATION: &str = "ZONE_GENERATION";
    /// 1 if `sched_process_exit` says whether the whole process ended.
    pub const SAYS_GROUP_DEAD: &str = "SAYS_GROUP_DEAD";
    /// Byte offsets of fields: constant, type and path.
    pub const OFFSETS: [(&str, &str, &str); 7] = [
        ("TASK_PID", "task_struct", "pid"),
        ("TASK_TGID", "task_struct", "tgid"),
        ("TASK_EXEC_NS", "task_struct", "se.sum_exec_runtime"),
        ("TASK_EXIT_CODE", "task_struct", "exit_code"),
        ("TASK_LEADER", "task_struct", "group_leader"),
        ("TASK_SIGNAL", "task_struct", "signal"),
        ("SIGNAL_EXIT", "signal_struct", "group_exit_code"),
    ];
}

/// The fair-share scheduler's maps, constants and operations.
pub mod fss {
    /// What the kernel calls the scheduler.
    pub const SCHEDULER: &str = "zone_fss";
    /// Slot → [`crate::fss::FssZone`].
    pub const ZONES: &str = "fss_zones";
    /// One [`crate::fss::FssHost`].
    pub const HOST: &str = "fss_host";
    /// CPU → 1 + slot of the zone that has it for itself, `u32`; 0: it is everybody's.
    pub const OWNERS: &str = "fss_owners";
    /// Slot → [`crate::fss::FssOwned`].
    pub const OWNED: &str = "fss_owned";
    /// CPU → 1 + number of its last level cache, `u32`; 0: nobody said.
    pub const CACHES: &str = "fss_caches";
    /// One [`crate::fss::FssExit`].
    pub const ENDED: &str = "fss_ended";
    /// Maps that are pinned, for whoever wants to look at them; a timer stops with the last descriptor or pin of its map.
    /// Tasks' storage has no keys that could be listed.
    pub const MAPS: [&str; 16] = [
        ZONES,
        ENDED,
        HOST,
        OWNERS,
        OWNED,
        CACHES,
        "fss_come",
        "fss_bound",
        "fss_tree",
        "fss_time",
        "fss_cpus",
        "fss_groups",
        "fss_contenders",
        "fss_clock",
        "fss_throttled",
        "fss_capped",
    ];

    /// Depth of a zone's cgroup, as above.
    pub const LEVEL: &str = super::global::LEVEL;
    /// CPUs that this host can have.
    pub const CPUS: &str = "CPUS";
    /// The kernel's ticks in a second, `u64`.
    pub const TICKS: &str = "TICKS_A_SECOND";
    /// CPUs that are online when the scheduler is loaded.
    pub const CPUS_ONLINE: &str = "CPUS_ONLINE";
    /// What the scheduler cannot do without, of what came last: all of it is there from Linux 6.19 on.
    pub const NEEDED: &str = "scx_bpf_dsq_peek";
    /// 1 if the kernel has a function: constant and name.
    pub const FUNCTIONS: [(&str, &str); 1] = [("HAS_MOVE_V2", "scx_bpf_dsq_move_to_local___v2")];
    /// Byte offsets of fields: constant, type and path.
    pub const OFFSETS: [(&str, &str, &str); 21] = [
        ("TASK_FLAGS", "task_struct", "flags"),
        ("TASK_EXEC_NS", "task_struct", "se.sum_exec_runtime"),
        ("TASK_CPUS_ALLOWED", "task_struct", "nr_cpus_allowed"),
        ("TASK_CPUS", "task_struct", "cpus_ptr"),
        ("TASK_MIGRATION_DISABLED", "task_struct", "migration_disabled"),
        ("TASK_CGROUPS", "task_struct", "cgroups"),
        ("TASK_GROUP", "task_struct", "sched_task_group"),
        ("GROUP_CGROUP", "task_group", "css.cgroup"),
        ("TASK_SCX_FLAGS", "task_struct", "scx.flags"),
        ("TASK_SCX_WEIGHT", "task_struct", "scx.weight"),
        ("TASK_SCX_RUNNABLE_AT", "task_struct", "scx.runnable_at"),
        ("TASK_SCX_VTIME", "task_struct", "scx.dsq_vtime"),
        ("CSS_SET_CGROUP", "css_set", "dfl_cgrp"),
        ("CGROUP_NODE", "cgroup", "kn"),
        ("CGROUP_LEVEL", "cgroup", "level"),
        ("NODE_ID", "kernfs_node", "id"),
        ("INIT_WEIGHT", "scx_cgroup_init_args", "weight"),
        ("EXIT_KIND", "scx_exit_info", "kind"),
        ("EXIT_CODE", "scx_exit_info", "exit_code"),
        ("EXIT_REASON", "scx_exit_info", "reason"),
        ("EXIT_MESSAGE", "scx_exit_info", "msg"),
    ];
    /// The same where a kernel may have none, which 0 says: none of these is a first field.
    pub const LATER_OFFSETS: [(&str, &str, &str); 4] = [
        ("INIT_IDLE", "scx_cgroup_init_args", "sched_idle"),
        ("INIT_PERIOD_US", "scx_cgroup_init_args", "bw_period_us"),
        ("INIT_QUOTA_US", "scx_cgroup_init_args", "bw_quota_us"),
        ("INIT_BURST_US", "scx_cgroup_init_args", "bw_burst_us"),
    ];
    /// Values of enumerators of the kernel's, `u64`, by their own names.
    pub const ENUMERATORS: [&str; 9] = [
        "SCX_DSQ_LOCAL",
        "SCX_SLICE_DFL",
        "SCX_ENQ_WAKEUP",
        "SCX_WAKE_SYNC",
        "SCX_ENQ_PREEMPT",
        "SCX_KICK_IDLE",
        "SCX_KICK_PREEMPT",
        "SCX_TASK_QUEUED",
        "SCX_DSQ_ITER_REV",
    ];
    /// Operations that not every kernel with sched_ext has.
    pub const LATER_OPERATIONS: [&str; 2] = ["cgroup_set_bandwidth", "cgroup_set_idle"];
    /// Flags of the scheduler that must be set: keep track of idle CPUs for us, and give us the last task of a CPU and those
    /// that exit too.
    pub const FLAGS: [&str; 3] = ["SCX_OPS_KEEP_BUILTIN_IDLE", "SCX_OPS_ENQ_LAST", "SCX_OPS_ENQ_EXITING"];
}
