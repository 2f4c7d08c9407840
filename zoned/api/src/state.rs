//! States of a zone and the verbs that move it between them (zoneadm's, with `incomplete` and `down`).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of a zone.
///
/// ```text
/// configured ─install▶ incomplete ──▶ installed ─ready▶ ready ─boot▶ running ◀─resume─ paused
///      ▲                   │             ▲  │                          │ │──pause──▶
///      └────uninstall──────┴─────────────┘  └──────────boot───────────▶│ │
///                                        ▲                             ▼
///                                        └────────────── shutting-down ┘──▶ down
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A configuration exists, a root does not.
    Configured,
    /// An install or uninstall is under way or was interrupted; `uninstall` is the only way out.
    Incomplete,
    /// The root is there, nothing runs.
    Installed,
    /// The virtual platform is set up (namespaces, mounts, cgroups), no process of the zone runs yet.
    Ready,
    /// The zone's first process runs.
    Running,
    /// Every process of the zone is frozen.
    Paused,
    /// The zone is being taken down.
    ShuttingDown,
    /// A step of the tear-down failed; `halt` tries it again.
    Down,
}

impl State {
    /// All states, in the order of a zone's life.
    pub const ALL: [State; 8] = [
        State::Configured,
        State::Incomplete,
        State::Installed,
        State::Ready,
        State::Running,
        State::Paused,
        State::ShuttingDown,
        State::Down,
    ];

    /// The name people and JSON see.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Configured => "configured",
            State::Incomplete => "incomplete",
            State::Installed => "installed",
            State::Ready => "ready",
            State::Running => "running",
            State::Paused => "paused",
            State::ShuttingDown => "shutting-down",
            State::Down => "down",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a client can ask of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Replace the whole configuration.
    Edit,
    /// Change single keys of the configuration.
    Set,
    /// Forget the zone.
    Delete,
    /// Give it a root.
    Install,
    /// Take its root and data away.
    Uninstall,
    /// Set up its platform without running anything.
    Ready,
    /// Start it.
    Boot,
    /// Ask its init to stop, then halt.
    Shutdown,
    /// Stop it at once.
    Halt,
    /// Stop and start it.
    Reboot,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Resume,
    /// Run a command in it.
    Exec,
    /// Attach to its console.
    Console,
    /// Copy files in or out.
    Cp,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Verb; 15] = [
        Verb::Edit,
        Verb::Set,
        Verb::Delete,
        Verb::Install,
        Verb::Uninstall,
        Verb::Ready,
        Verb::Boot,
        Verb::Shutdown,
        Verb::Halt,
        Verb::Reboot,
        Verb::Pause,
        Verb::Resume,
        Verb::Exec,
        Verb::Console,
        Verb::Cp,
    ];

    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Edit => "edit",
            Verb::Set => "set",
            Verb::Delete => "delete",
            Verb::Install => "install",
            Verb::Uninstall => "uninstall",
            Verb::Ready => "ready",
            Verb::Boot => "boot",
            Verb::Shutdown => "shutdown",
            Verb::Halt => "halt",
            Verb::Reboot => "reboot",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Exec => "exec",
            Verb::Console => "console",
            Verb::Cp => "cp",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
