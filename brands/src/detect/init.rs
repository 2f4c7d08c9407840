//! Whether a root's first process can run on this host, and which init it is.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::PermissionsExt,
};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::{InitKind, RootFs};
use crate::{
    elf::{self, ElfError, Machine},
    text::escape,
};

/// Most of an init that is searched for its name, in bytes: more than any known one, static BusyBox included.
const MAX_SEARCH: u64 = 4 * 1024 * 1024;
/// Longest first line of a script, in bytes (`BINPRM_BUF_SIZE`).
const MAX_SHEBANG: u64 = 256;

/// Verdict on a root's first process. Paths are inside the root and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum InitCheck {
    /// It can run here.
    Ok {
        /// Which init it is.
        kind: InitKind,
        /// Its version, where it tells; of systemd the number alone.
        version: Option<String>,
        /// What it is built for.
        machine: Machine,
        /// Its loader, present in the root; none if it is static.
        interpreter: Option<String>,
    },
    /// It is a script, whose interpreter is there.
    Script {
        /// Where it was looked for.
        path: String,
        /// What runs it.
        interpreter: String,
    },
    /// There is none.
    Missing {
        /// Where it was looked for.
        path: String,
    },
    /// There is something, and it is no program.
    NotExecutable {
        /// Where.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// It is built for another machine.
    WrongMachine {
        /// Where.
        path: String,
        /// For which.
        machine: Machine,
    },
    /// What is to load or run it is missing.
    MissingInterpreter {
        /// Where.
        path: String,
        /// What is missing.
        interpreter: String,
    },
}

impl InitCheck {
    /// Whether the root can be booted by it.
    pub fn can_boot(&self) -> bool {
        matches!(self, InitCheck::Ok { .. } | InitCheck::Script { .. })
    }

    /// Which init it is; a script or what cannot run is unknown.
    pub fn kind(&self) -> InitKind {
        match self {
            InitCheck::Ok { kind, .. } => *kind,
            _ => InitKind::Unknown,
        }
    }
}

impl fmt::Display for InitCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitCheck::Ok { kind, version, machine, .. } => {
                write!(f, "{kind}")?;
                version.iter().try_for_each(|version| write!(f, " {version}"))?;
                write!(f, " for {machine}")
            }
            InitCheck::Script { path, interpreter } => write!(f, "{path}, a script run by {interpreter}"),
            InitCheck::Missing { path } => {
                write!(
                    f,
                    "init {path}: the root has none, or a link that leads nowhere; install one there (on Debian the package systemd-sysv), or set process.init to a program it has, or to none for the built-in init"
                )
            }
            InitCheck::NotExecutable { path, why } => {
                write!(
                    f,
                    "init {path}: cannot be executed: {why}; set process.init to a program, or to none for the built-in init"
                )
            }
            InitCheck::WrongMachine { path, machine } => {
                let host = Machine::host();
                write!(
                    f,
                    "init {path}: built for {machine}, and this host runs {host}; use an image for this host"
                )
            }
            InitCheck::MissingInterpreter { path, interpreter } => {
                write!(
                    f,
                    "init {path}: wants {interpreter} to run it, which the root lacks; the root is incomplete: install the package that holds it (on Debian libc6 has the loader)"
                )
            }
        }
    }
}

/// Looks at the program `path` of a root, an absolute path inside.
pub fn check_init(root: &impl RootFs, path: &str) -> InitCheck {
    let shown = escape(path);
    match root.open(path) {
        Ok(file) => check_file(root, shown, file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => InitCheck::Missing { path: shown },
        Err(e) => InitCheck::NotExecutable { path: shown, why: format!("it cannot be opened ({e})") },
    }
}

fn check_file(root: &impl RootFs, path: String, file: File) -> InitCheck {
    let why = match file.metadata() {
        Ok(meta) if !meta.is_file() => "it is no regular file".to_owned(),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => "it has no permission to execute".to_owned(),
        Ok(_) => match elf::read(&file) {
            Ok(program) => return check_program(root, path, file, program),
            Err(ElfError::NotElf) => return check_script(root, path, file),
            Err(e) => e.to_string(),
        },
        Err(e) => format!("it cannot be looked at ({e})"),
    };
    InitCheck::NotExecutable { path, why }
}

fn check_program(root: &impl RootFs, path: String, file: File, program: elf::Program) -> InitCheck {
    if !program.machine.runs_here() {
        return InitCheck::WrongMachine { path, machine: program.machine };
    }
    let interpreter = program.interpreter.as_deref().map(escape);
    match (&program.interpreter, interpreter) {
        (Some(wanted), Some(interpreter)) if !is_file(root, wanted) => {
            InitCheck::MissingInterpreter { path, interpreter }
        }
        (_, interpreter) => {
            let (kind, version) = recognise(file);
            InitCheck::Ok { kind, version, machine: program.machine, interpreter }
        }
    }
}

fn check_script(root: &impl RootFs, path: String, mut file: File) -> InitCheck {
    let mut line = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MAX_SHEBANG).read_to_end(&mut line));
    let first = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words = first.strip_prefix(b"#!").and_then(|words| str::from_utf8(words).ok());
    let Some(wanted) = words.and_then(|words| words.split_whitespace().next()).filter(|_| read.is_ok())
    else {
        return InitCheck::NotExecutable { path, why: "it is neither an ELF program nor a script".into() };
    };
    let interpreter = escape(wanted);
    if is_file(root, wanted) {
        InitCheck::Script { path, interpreter }
    } else {
        InitCheck::MissingInterpreter { path, interpreter }
    }
}

fn is_file(root: &impl RootFs, path: &str) -> bool {
    path.starts_with('/') && root.open(path).and_then(|file| file.metadata()).is_ok_and(|meta| meta.is_file())
}

/// Which init a program is, by the names every build of each carries.
fn recognise(mut file: File) -> (InitKind, Option<String>) {
    let mut bytes = Vec::new();
    if file.rewind().and_then(|()| file.take(MAX_SEARCH).read_to_end(&mut bytes)).is_err() {
        return (InitKind::Unknown, None);
    }
    let marks: [(&[u8], InitKind); 7] = [
        // Since 231 systemd's library carries the version in its name; older ones say it when they start.
        (b"libsystemd-core-", InitKind::Systemd),
        (b"libsystemd-shared-", InitKind::Systemd),
        (b"INIT_VERSION=sysvinit-", InitKind::Sysvinit),
        (b"BusyBox v", InitKind::Busybox),
        (b"com.ubuntu.Upstart", InitKind::Upstart), // names its D-Bus interface, no version
        (b"openrc-init", InitKind::Openrc),
        (b"systemd ", InitKind::Systemd),
    ];
    for (mark, kind) in marks {
        for at in memmem::find_iter(&bytes, mark) {
            let version = version(&bytes[at + mark.len()..], kind);
            // "systemd " alone is also part of prose.
            if version.is_some() || !mark.ends_with(b" ") {
                return (kind, version);
            }
        }
    }
    (InitKind::Unknown, None)
}

/// The version that text begins with.
fn version(text: &[u8], kind: InitKind) -> Option<String> {
    let part = |byte: &&u8| byte.is_ascii_digit() || (kind != InitKind::Systemd && **byte == b'.');
    let digits: String = text.iter().take(16).take_while(part).map(|byte| char::from(*byte)).collect();
    (kind != InitKind::Upstart && digits.starts_with(|c: char| c.is_ascii_digit())).then_some(digits)
}
