//! What the daemon and a zone's monitor say to each other.
//!
//! `SOCK_SEQPACKET` on the zone's `control.sock` (0600, host root only); each packet is one JSON object,
//! descriptors travel by `SCM_RIGHTS` with the packet that names them. The daemon may connect at any time and as
//! often as it likes; every connection is told `Hello` first and every change of phase after it, and whether the zone is
//! online, which the monitor keeps for whichever daemon comes next. An answer bears
//! the number of its request, since answers come as their work is done and in no other order: a command that a zone
//! makes last to start holds up no other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zoned_api::{report::Exit, session::ExecSpec};

/// Version of this protocol.
pub const VERSION: u32 = 1;

/// Largest packet, in bytes.
pub const MAX_PACKET: usize = 64 * 1024;

/// What a waiting monitor is told, over its stdin. Descriptors: the zone's control socket, listening, and its log.
/// The end of file instead means that there is nothing to do any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Run folder of the zone. The plan is there, and so are the groups it names.
    pub folder: PathBuf,
    /// Go on from `Ready` without being asked.
    pub straight: bool,
}

/// How far a boot has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// The root is being assembled.
    Building,
    /// PID 1 stands before its exec.
    Ready,
    /// PID 1 runs.
    Running,
    /// PID 1 has ended; the monitor ends too, when everything in the zone's cgroup is gone.
    Ended(ExitRecord),
}

/// Whether the zone is online, by the rule of its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Online {
    /// Milliseconds since the epoch when it came online, once it has. It stays so until the boot ends.
    pub since_ms: Option<u64>,
    /// What its program said last of its start: the zone's own words.
    pub status: Option<String>,
}

/// How a boot ended. Also written to `exit.json` before the monitor exits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Boot it is of.
    pub boot: u64,
    /// How PID 1 ended; [`Exit::Unknown`] if it never ran.
    pub exit: Exit,
    /// Where the way into isolation failed, if it did: the object and the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A packet from the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked<R> {
    /// Number of the request, which its answer bears. The daemon gives none twice on one connection.
    pub id: u64,
    /// What is asked.
    pub request: R,
}

/// What the daemon asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Let PID 1 go on from `Ready`. Answer: `Done` once its exec has succeeded, or `Failed`.
    Boot,
    /// Send PID 1 a signal. Answer: `Done` or `Failed`.
    Signal {
        /// Signal number.
        signal: i32,
    },
    /// Run a command. Descriptors: stdin, stdout, stderr (FIFOs), or none with `tty`. Answer: `Session`
    /// with the session socket and, with `tty`, the terminal's master; or `Failed`.
    Exec {
        /// What.
        spec: ExecSpec,
    },
    /// Copy files. Descriptor: one FIFO. Answer: `Session` with the session socket, or `Failed`.
    Copy {
        /// Path inside the zone.
        path: String,
        /// Unpack there what comes from the pipe; else pack it into the pipe.
        into: bool,
    },
    /// Attach to the console. Answer: `Session` with a stream socket.
    Console,
    /// The zone has answered at its address: it is online. Answer: `Done`, or `Failed` if it does not run.
    Online,
}

/// To the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum News {
    /// First packet of each connection.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Boot this is.
        boot: u64,
        /// The monitor's pid.
        pid: u32,
        /// PID 1 in the host's numbering, once there is one.
        init: Option<u32>,
        /// How far it has come.
        phase: Phase,
        /// Whether it is online.
        #[serde(default)]
        online: Online,
    },
    /// It came online, or said how far its start is.
    Online {
        /// What is known now.
        online: Online,
    },
    /// The boot went on.
    Phase {
        /// PID 1 in the host's numbering, once there is one.
        init: Option<u32>,
        /// To where.
        phase: Phase,
    },
    /// A request was answered; descriptors of a session come with this.
    Answer {
        /// Number of the request.
        to: u64,
        /// How.
        answer: Answer,
    },
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// The request was carried out.
    Done,
    /// A session was opened; its descriptors come with this.
    Session {
        /// The command in the host's numbering, where there is one.
        pid: Option<u32>,
    },
    /// The request failed.
    Failed {
        /// Object and reason.
        why: String,
    },
}
