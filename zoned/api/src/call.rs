//! The calls and their replies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    event::Event,
    report::{Finding, GlobalInfo, Leftover, Shift, ZoneInfo},
    session::ExecSpec,
    stat::ZoneStat,
    state::{State, Verb},
};

/// A call. `zone` is a name or a UUID.
///
/// Calls marked *stream* answer with several replies when called with `more`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Method {
    /// Varlink's own: who answers. Replies [`Reply::ServiceInfo`].
    #[serde(rename = "org.varlink.service.GetInfo")]
    GetInfo {},
    /// Varlink's own: the interface description. Replies [`Reply::Description`].
    #[serde(rename = "org.varlink.service.GetInterfaceDescription")]
    GetInterfaceDescription {
        /// Which interface.
        interface: String,
    },
    /// Version of the daemon and of the API. Replies [`Reply::Version`].
    #[serde(rename = "io.zoned.Manager.Version")]
    Version {},
    /// All zones. Replies [`Reply::Zones`].
    #[serde(rename = "io.zoned.Manager.List")]
    List {},
    /// One zone. Replies [`Reply::Zones`] with one element.
    #[serde(rename = "io.zoned.Manager.Info")]
    Info {
        /// Which.
        zone: String,
    },
    /// The host's own processes. Replies [`Reply::Global`].
    #[serde(rename = "io.zoned.Manager.Global")]
    Global {},
    /// The configuration as YAML text, as it was written. Replies [`Reply::Text`].
    #[serde(rename = "io.zoned.Manager.Export")]
    Export {
        /// Which.
        zone: String,
    },
    /// Check a configuration without keeping it. Replies [`Reply::Checked`].
    #[serde(rename = "io.zoned.Manager.Verify")]
    Verify {
        /// YAML text.
        yaml: String,
    },
    /// Make a zone. Replies [`Reply::Done`].
    #[serde(rename = "io.zoned.Manager.Create")]
    Create {
        /// YAML text.
        yaml: String,
    },
    /// Replace a zone's configuration. Replies [`Reply::Done`].
    #[serde(rename = "io.zoned.Manager.Edit")]
    Edit {
        /// Which.
        zone: String,
        /// YAML text.
        yaml: String,
        /// The text this was made from; refused if the stored one is no longer that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<String>,
    },
    /// Change single keys: dotted path to YAML value; an empty value takes the key away. Replies [`Reply::Done`].
    #[serde(rename = "io.zoned.Manager.Set")]
    Set {
        /// Which, or `global`: of that `cpu.shares` alone.
        zone: String,
        /// What to what.
        values: BTreeMap<String, String>,
    },
    /// What a change of a zone's `cpu` would make of what every zone that runs is entitled to. Checked as [`Method::Set`] checks it; nothing
    /// is changed. Replies [`Reply::Shifts`].
    #[serde(rename = "io.zoned.Manager.WhatIf")]
    WhatIf {
        /// Which, or `global`, where its shares are kept.
        zone: String,
        /// What to what.
        values: BTreeMap<String, String>,
    },
    /// A verb without arguments. *Stream*: progress, then done. Replies [`Reply::Progress`] and [`Reply::Done`].
    #[serde(rename = "io.zoned.Manager.Do")]
    Do {
        /// Which.
        zone: String,
        /// What: delete, uninstall, ready, boot, halt, reboot, pause or resume.
        verb: Verb,
        /// The zone must still be this one (a name can be given again).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uuid: Option<Uuid>,
    },
    /// Give a zone its root. *Stream* like [`Method::Do`].
    #[serde(rename = "io.zoned.Manager.Install")]
    Install {
        /// Which.
        zone: String,
        /// Instead of the configured `root.image`, which it replaces: `debian:SUITE`, `tar:FILE` or `dir:PATH`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Ask a zone's init to stop; halt it if it has not by then. *Stream* like [`Method::Do`].
    #[serde(rename = "io.zoned.Manager.Shutdown")]
    Shutdown {
        /// Which.
        zone: String,
        /// Seconds to wait before halting it; what its brand says if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<u32>,
        /// Boot it again afterwards (a clean reboot).
        #[serde(default)]
        reboot: bool,
    },
    /// Wait until a zone that runs is online. Fails when it is not in time, and at once when its boot ends. *Stream* like
    /// [`Method::Do`]; the client says nothing else on this connection meanwhile, and ends the waiting by closing it.
    #[serde(rename = "io.zoned.Manager.Wait")]
    Wait {
        /// Which.
        zone: String,
        /// Seconds to wait at most; what its configuration says if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<u32>,
    },
    /// Run a command. Descriptors: stdin, stdout, stderr, each a pipe; none with `tty`. Replies
    /// [`Reply::Session`] with the session socket and, with `tty`, the terminal's master.
    #[serde(rename = "io.zoned.Manager.Exec")]
    Exec {
        /// Which.
        zone: String,
        /// What.
        spec: ExecSpec,
    },
    /// Attach to the console. Replies [`Reply::Session`] with a stream socket: what is written to it is typed.
    #[serde(rename = "io.zoned.Manager.Console")]
    Console {
        /// Which.
        zone: String,
    },
    /// What the console printed, the kept part. Replies [`Reply::Text`].
    #[serde(rename = "io.zoned.Manager.ConsoleLog")]
    ConsoleLog {
        /// Which.
        zone: String,
    },
    /// Copy files as a tar stream. Descriptor: one pipe, read from for `into`, else written to. Replies
    /// [`Reply::Session`] with the session socket, which says how it ended.
    #[serde(rename = "io.zoned.Manager.Copy")]
    Copy {
        /// Which.
        zone: String,
        /// Path inside the zone: where to unpack (must be a folder), or what to pack.
        path: String,
        /// Into the zone, or out of it.
        into: bool,
    },
    /// *Stream* of events after `since`, then, with `follow`, as they come. Replies [`Reply::Events`].
    #[serde(rename = "io.zoned.Manager.Events")]
    Events {
        /// Only of this zone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// Sequence number after which to begin; from the oldest kept if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
        /// Go on with events as they happen.
        #[serde(default)]
        follow: bool,
        /// With fork, exec and exit of processes.
        #[serde(default)]
        processes: bool,
    },
    /// Figures. Replies [`Reply::Stats`].
    #[serde(rename = "io.zoned.Manager.Stat")]
    Stat {
        /// One zone, or all and `global`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// What the host offers. Replies [`Reply::Findings`].
    #[serde(rename = "io.zoned.Manager.Doctor")]
    Doctor {},
    /// What belongs to no living zone. Replies [`Reply::Leftovers`].
    #[serde(rename = "io.zoned.Manager.Audit")]
    Audit {},
}

/// A successful reply. Which one a method gives is said at the method; as JSON each is one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// See [`Method::GetInfo`].
    ServiceInfo {
        /// Who wrote it.
        vendor: String,
        /// What it is.
        product: String,
        /// Version of the daemon.
        version: String,
        /// Where to read on.
        url: String,
        /// Interfaces spoken.
        interfaces: Vec<String>,
    },
    /// See [`Method::GetInterfaceDescription`].
    Description {
        /// Varlink interface definition.
        description: String,
    },
    /// See [`Method::Version`].
    Version {
        /// Version of the daemon.
        daemon: String,
        /// [`crate::API_VERSION`] of the daemon.
        api: u32,
    },
    /// Zones, sorted by name.
    Zones {
        /// The zones.
        zones: Vec<ZoneInfo>,
    },
    /// See [`Method::Global`].
    Global {
        /// What is known of it.
        global: GlobalInfo,
    },
    /// See [`Method::Verify`]. (Before the text alone, which as an untagged variant it would match.)
    Checked {
        /// The configuration with defaults filled in.
        text: String,
        /// What it names that is not there, a sentence each, the key first.
        warnings: Vec<String>,
    },
    /// A text.
    Text {
        /// The text.
        text: String,
    },
    /// A step of something long.
    Progress {
        /// What is being done.
        step: String,
        /// Done and total, in the unit of the step (bytes, mostly), where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<(u64, Option<u64>)>,
    },
    /// A session was opened; the descriptors come with this reply.
    Session {
        /// Process id on the host, where there is one.
        pid: Option<u32>,
        /// Version of the session's protocol.
        session: u32,
    },
    /// Some events.
    Events {
        /// In order.
        events: Vec<Event>,
        /// Number of events after `since` that are no longer kept.
        missed: u64,
    },
    /// Figures, `global` first, then zones by name.
    Stats {
        /// The figures.
        stats: Vec<ZoneStat>,
    },
    /// See [`Method::WhatIf`].
    Shifts {
        /// `global`, where its shares are kept, then each zone by name.
        shifts: Vec<Shift>,
    },
    /// See [`Method::Doctor`].
    Findings {
        /// What was found.
        findings: Vec<Finding>,
    },
    /// See [`Method::Audit`].
    Leftovers {
        /// What is left.
        leftovers: Vec<Leftover>,
    },
    /// It is done. (Last: every field is optional, so as an untagged variant it matches any object.)
    Done {
        /// State the zone is in now; none if it is no more.
        state: Option<State>,
        /// Something worth knowing: the request joined one under way, or there was nothing to do.
        note: Option<String>,
    },
}
