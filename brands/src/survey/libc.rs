//! Which C libraries a root has.

use std::{fmt, io::Read};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::{
    detect::RootFs,
    elf::{self, Machine, Release},
    text::escape,
};

/// Most of one that is searched for its version, bytes.
const MAX_SEARCH: u64 = 8 * 1024 * 1024;

/// A C library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Libc {
    /// Which.
    pub kind: LibcKind,
    /// Its release, where it tells.
    pub release: Option<Release>,
    /// What it is built for.
    pub machine: Machine,
    /// Where.
    pub path: String,
}

/// A kind of C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LibcKind {
    /// GNU's.
    Glibc,
    /// musl.
    Musl,
    /// uClibc.
    Uclibc,
    /// That of the kernel's early user space.
    Klibc,
}

impl fmt::Display for LibcKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LibcKind::Glibc => "glibc",
            LibcKind::Musl => "musl",
            LibcKind::Uclibc => "uClibc",
            LibcKind::Klibc => "klibc",
        })
    }
}

pub(super) fn all(root: &impl RootFs, tally: &Tally) -> Vec<Libc> {
    tally.libcs.iter().filter_map(|path| look_at(root, path)).collect()
}

fn look_at(root: &impl RootFs, path: &str) -> Option<Libc> {
    let file = root.open(path).ok()?;
    let machine = elf::read(&file).ok()?.machine;
    let mut bytes = Vec::new();
    file.take(MAX_SEARCH).read_to_end(&mut bytes).ok()?;
    let name = path.rsplit('/').next()?;
    // What each says when it is started.
    let (kind, mark): (_, &[u8]) = match name {
        "libc.so.6" => (LibcKind::Glibc, b"stable release version "),
        _ if name.starts_with("ld-musl-") => (LibcKind::Musl, b"musl libc ("),
        _ if name.starts_with("klibc-") => (LibcKind::Klibc, b""),
        _ => (LibcKind::Uclibc, b""),
    };
    Some(Libc { kind, release: release(&bytes, kind, mark), machine, path: escape(path) })
}

fn release(bytes: &[u8], kind: LibcKind, mark: &[u8]) -> Option<Release> {
    let after = |at: usize| {
        let text = bytes.get(at..)?;
        let text = &text[..text.len().min(16)];
        let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        Release::parse(str::from_utf8(&text[..end]).ok()?)
    };
    match kind {
        LibcKind::Glibc => after(memmem::find(bytes, mark)? + mark.len()),
        // Its version is a string of its own, like "1.2.5".
        LibcKind::Musl => {
            memmem::find_iter(bytes, b"\x001.").find_map(|at| after(at + 1)).filter(|found| found.0[0] == 1)
        }
        LibcKind::Uclibc | LibcKind::Klibc => None,
    }
}
