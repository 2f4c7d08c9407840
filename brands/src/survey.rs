//! What a root holds, file by file: all that the choice of a brand and its shims needs to know.
//!
//! The root is hostile: paths are never resolved through links, each folder is opened below the root, every file is read with a
//! bound, and what is told is bounded and escaped. It is meant to run in a process that sees nothing but the root.

mod identity;
mod libc;
mod record;
mod tally;
mod walk;

#[cfg(test)]
mod tests;

use std::{fs::File, os::fd::OwnedFd, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    detect::{Detection, RootFs, detect},
    elf::{self, ElfError, Form, Level, Machine, Release, System},
};

use self::tally::Tally;
pub use identity::Identity;

pub use libc::{Libc, LibcKind};
pub use record::{PackageManager, Record};
pub use tally::{Few, Seen};

/// What a survey may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most files and folders that are looked at.
    pub files: u64,
    /// Longest time.
    pub time: Duration,
    /// Threads that look.
    pub threads: usize,
}

impl Default for Bounds {
    /// More than any distribution has, in a minute, by all CPUs.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
        Bounds { files: 8_000_000, time: Duration::from_secs(60), threads }
    }
}

/// What a root holds. Paths are inside the root, and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Survey {
    /// Its os-release and its init; none of a single file.
    pub detection: Option<Detection>,
    /// What older systems say of themselves instead of os-release(5).
    pub records: Vec<Record>,
    /// What installs packages there.
    pub package_managers: Vec<PackageManager>,
    /// Its C libraries.
    pub libcs: Vec<Libc>,
    /// Its ELF files.
    pub elf: ElfSurvey,
    /// Why not everything was looked at; none if it was.
    pub cut_short: Option<String>,
}

/// What is told of all ELF files together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ElfSurvey {
    /// Files and folders that were looked at.
    pub files: u64,
    /// What the programs and libraries are built for.
    pub kinds: Vec<Kind>,
    /// The file that wants the newest kernel, by its note.
    pub oldest_kernel: Option<Seen<Release>>,
    /// The file that wants the newest glibc.
    pub glibc: Option<Seen<Release>>,
    /// The file that wants the highest level of processor.
    pub level: Option<Seen<Level>>,
    /// Files that want an executable stack.
    pub executable_stacks: Few<String>,
    /// 32-bit x86 programs that say nothing of their stack, so that all their memory is executable.
    pub unsaid_stacks: Few<String>,
    /// Packed programs.
    pub packed: Few<String>,
    /// Files that call the vsyscall page.
    pub vsyscalls: Few<Caller>,
    /// Static programs, which no library of the root's is to be kept from.
    pub static_programs: u64,
    /// Libraries that files want and that are not there.
    pub missing: Few<Missing>,
    /// Loaders that programs want and that are not there.
    pub missing_loaders: Few<Missing>,
    /// ELF files that are damaged: where, and how.
    pub damaged: Few<String>,
}

/// Files of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kind {
    /// What they are built for.
    pub machine: Machine,
    /// The system.
    pub system: System,
    /// How many.
    pub files: u64,
    /// One of them.
    pub example: String,
}

/// A file that calls the vsyscall page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Caller {
    /// Where.
    pub path: String,
    /// Its places by how they call: what can be rewritten, and what cannot.
    pub forms: Vec<(Form, u32)>,
}

/// What is wanted and not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// How many programs want it.
    pub programs: u64,
    /// How many libraries: plugins often want what a system does without.
    pub libraries: u64,
    /// One of the programs, or of the libraries if there is none.
    pub example: String,
}

/// Looks through a root: `view` opens files by their paths in it, `top` is its folder. `init` is the absolute path of its first process.
pub fn survey(view: &(impl RootFs + Sync), top: &OwnedFd, init: &str, bounds: &Bounds) -> Survey {
    let (tally, cut_short) = walk::walk(top, bounds);
    let present =
        |path: &str| view.open(path).and_then(|file| file.metadata()).is_ok_and(|meta| meta.is_file());
    Survey {
        detection: Some(detect(view, init)),
        records: record::records(view),
        package_managers: record::package_managers(view),
        libcs: libc::all(view, &tally),
        elf: tally.told(present),
        cut_short,
    }
}

/// Looks at a single ELF file. Of a root that it may lie in nothing is told: neither what it is nor what is missing there.
pub fn survey_file(file: &File, path: &str) -> Result<Survey, ElfError> {
    let facts = elf::inspect(file)?;
    let mut tally = Tally::default();
    tally.saw_file();
    tally.saw(path, "", &facts);
    Ok(Survey {
        detection: None,
        records: Vec::new(),
        package_managers: Vec::new(),
        libcs: Vec::new(),
        elf: tally.alone(),
        cut_short: None,
    })
}
