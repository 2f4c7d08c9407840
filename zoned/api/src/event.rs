//! What happened, as `zonectl events` shows it.

use serde::{Deserialize, Serialize};

use crate::{
    name::ZoneName,
    state::{State, Verb},
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one with each event of one daemon's life.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// The zone it concerns; none for the daemon itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// What it was.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Kinds of event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// The daemon started and took over `adopted` running zones.
    DaemonStarted {
        /// Zones found running.
        adopted: u32,
    },
    /// A zone changed its state.
    StateChanged {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why, where it is not plain from the verb.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A zone came online.
    Online {
        /// Milliseconds after it was booted.
        after_ms: u64,
    },
    /// A client's request was carried out or refused.
    Request {
        /// What was asked.
        verb: Verb,
        /// User id of the client.
        uid: u32,
        /// The error, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A zone was created, its configuration changed, or it was deleted.
    Configured {
        /// `created`, `changed` or `deleted`; `of global changed` with what to what.
        what: String,
    },
    /// Processes of the zone were killed for want of memory.
    Oom {
        /// How many since the last such event.
        kills: u64,
    },
    /// The zone ran into a limit.
    Limit {
        /// Key of the configuration.
        key: String,
        /// How often since the last such event: forks refused at `tasks.max`, seconds without room at `root.quota` and
        /// `root.inodes`, seconds held at a cap of `io`.
        times: u64,
    },
    /// The kernel took zoned's CPU scheduler away.
    SchedulerLost {
        /// Why, in the kernel's words.
        reason: String,
        /// What keeps shares from now on: `fss` again, `deficit` or `shares`; none if nothing does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend: Option<String>,
    },
    /// A process of the zone forked.
    Fork {
        /// Parent, in the host's numbering.
        pid: u32,
        /// Child.
        child: u32,
        /// Name of the parent's program, at most 15 bytes, escaped.
        comm: String,
    },
    /// A process of the zone executed a program.
    Exec {
        /// Process, in the host's numbering.
        pid: u32,
        /// Name of the new program, at most 15 bytes, escaped.
        comm: String,
    },
    /// A process of the zone ended.
    Exit {
        /// Process, in the host's numbering.
        pid: u32,
        /// Name of its program, at most 15 bytes, escaped.
        comm: String,
        /// Wait status as of wait(2): low 7 bits the signal, bits 8–15 the exit code.
        status: u32,
    },
    /// Process events were lost because the ring buffer was full.
    Lost {
        /// How many since the last such event.
        count: u64,
    },
}
