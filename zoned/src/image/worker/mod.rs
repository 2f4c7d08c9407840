//! Unpacking in a confined process.
//!
//! ```text
//! zoned ──exec──▶ zoned worker unpack (keeper): host's root, trusted; private mount namespace, the staging
//!   │                │  folder mounted onto itself with ids shifted to the zone's; waits, passes kills on
//!   │                └──clone3(all namespaces)──▶ unpacker: root of the zone's ids, the folder is all it sees,
//!   │ ──job, archive (stdin)──────────────────▶   five capabilities, no exec, no fork, bounded memory
//!   │ ◀──reports, a JSON object a line (stdout)── │
//! ```
//! The archive is hostile, and so may the unpacker be once it has read it: the keeper's user does not exist in
//! its namespaces, it holds no descriptor but its three streams, and what it reports is bounded and escaped.
//! The daemon hashes what it feeds, so the name of a layer never depends on the unpacker's word.
//!
//! When the daemon dies, the kernel tells the keeper (PR_SET_PDEATHSIG), which kills the unpacker; when the
//! keeper dies, the kernel kills the unpacker; and either way the archive ends before its end mark.

mod feed;
mod keeper;
mod unpacker;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::archive::{Amount, ArchiveError, Rules, Summary};
use crate::plan::IdRange;

pub use feed::run;
pub use keeper::main;

/// Arguments that make `zoned` the keeper.
pub const ARGUMENTS: [&str; 2] = ["worker", "unpack"];

/// Longest job, in bytes.
const LONGEST_JOB: usize = 64 << 10;

/// What to unpack where: the first line on the keeper's stdin. The archive follows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Process that asks. The keeper ends at once if that is no longer its parent.
    pub parent: u32,
    /// An empty folder, owned by root.
    pub folder: PathBuf,
    /// Ids the files are to have in the zone; on the disk they get 0...
    pub ids: IdRange,
    /// What the archive may do.
    pub rules: Rules,
}

/// A line on stdout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Report {
    /// So far; ten times a second at most.
    Progress(Amount),
    /// It is done. Last.
    Done(Summary),
    /// The archive is no good. Last.
    Archive(ArchiveError),
    /// The confinement could not be set up. Last.
    Confine(String),
}

impl Report {
    /// Sends it. Whoever should read it may be gone; the end of this process says enough then.
    fn send(&self) {
        use std::io::Write;
        if let Ok(mut line) = serde_json::to_vec(self) {
            line.push(b'\n');
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}
