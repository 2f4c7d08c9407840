//! Why a root could not be installed, looked into or removed.

use std::{
    io,
    path::{Path, PathBuf},
};

use brands::text::escape;
use uuid::Uuid;
use zoned_api::ApiError;

use super::archive::{ArchiveError, PackError};
use crate::{fault::whole, platform::Failure};

/// An operation on images that failed. Nothing it made is left, except where another error says so.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file or folder of the state, the cache or the source could not be worked with.
    #[error("{}: cannot {doing}", shown(path))]
    Io {
        /// Which.
        path: PathBuf,
        /// What was to be done with it.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The zone has a root already.
    #[error("zone {0}: has a dataset already")]
    Exists(Uuid),
    /// The zone has no root.
    #[error("zone {0}: has no dataset")]
    NotInstalled(Uuid),
    /// It was asked to stop.
    #[error("the install was cancelled")]
    Cancelled,
    /// What should be an archive is no regular file.
    #[error("image tar:{}: is {found}, and an archive is a regular file", shown(path))]
    NotAFile {
        /// The path as configured.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// What should be a folder is none.
    #[error("image dir:{}: is no folder", shown(.0))]
    NotAFolder(PathBuf),
    /// The folder is the host's own root.
    #[error("image dir:{}: is the root of this host", shown(.0))]
    HostRoot(PathBuf),
    /// The folder could not be packed.
    #[error("image {image}")]
    Pack {
        /// The image.
        image: String,
        /// Why not.
        source: PackError,
    },
    /// The archive could not be unpacked.
    #[error("image {image}")]
    Archive {
        /// The image.
        image: String,
        /// Why not.
        source: ArchiveError,
    },
    /// The archive changed while it was read.
    #[error("image {0}: changed while it was read")]
    Changed(String),
    /// The confined process that unpacks could not be set up.
    #[error("image {image}: the process that unpacks it cannot be confined: {}", escape(why))]
    Confine {
        /// The image.
        image: String,
        /// What failed in it.
        why: String,
    },
    /// The confined process ended without a word.
    #[error("image {image}: the process that unpacks it {how}{}{}", if said.is_empty() { "" } else { ": " }, escape(said))]
    Worker {
        /// The image.
        image: String,
        /// How it ended.
        how: String,
        /// Last it wrote to stderr.
        said: String,
    },
    /// A program that is needed is not installed.
    #[error("image debian:{suite}: {what} is not installed")]
    Missing {
        /// The suite.
        suite: String,
        /// Program or file.
        what: String,
        /// Debian package it is in.
        package: &'static str,
    },
    /// The host's apt knows no archive of Debian's.
    #[error("image debian:{suite}: apt on this host is not configured for any archive of Debian's")]
    NoMirror {
        /// The suite.
        suite: String,
    },
    /// The archive has no such suite.
    #[error("image debian:{suite}: the archive this host's apt uses ({mirror}) has no suite of that name")]
    NoSuite {
        /// The suite.
        suite: String,
        /// Where it was looked for.
        mirror: String,
    },
    /// mmdebstrap failed.
    #[error("image debian:{suite}: mmdebstrap failed: {}", escape(said))]
    Bootstrap {
        /// The suite.
        suite: String,
        /// What it said.
        said: String,
    },
    /// A volume could not be worked with.
    #[error(transparent)]
    Volume(#[from] Failure),
    /// The disk is nearly full.
    #[error("{}: only {free} MiB of the disk are free", shown(path))]
    NoSpace {
        /// The state folder.
        path: PathBuf,
        /// How many.
        free: u64,
    },
    /// This host's userland cannot be shared.
    #[error("sparse root: {0}")]
    Sparse(String),
}

impl ImageError {
    /// What the reader can do, where something can be done.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            ImageError::Exists(_) => "uninstall the zone first".into(),
            ImageError::NotInstalled(_) => "install the zone first".into(),
            ImageError::NotAFile { .. } => {
                "give the path of a tar archive, or use dir:PATH for a folder".into()
            }
            ImageError::NotAFolder(_) => "give the path of a folder, or use tar:FILE for an archive".into(),
            ImageError::HostRoot(_) => "use { sparse: true } to share the host's own userland".into(),
            ImageError::Changed(_) => "wait until it has been written, then install again".into(),
            ImageError::Missing { package, .. } => format!("apt-get install {package}"),
            ImageError::NoMirror { .. } => {
                "run apt-get update on a Debian host, or use tar:FILE with a root made elsewhere".into()
            }
            ImageError::NoSpace { .. } => "make space; the last 1024 MiB are left to the host".into(),
            ImageError::NoSuite { .. } => "use a suite of Debian's like bookworm or trixie".into(),
            ImageError::Archive { source: ArchiveError::Refused { .. }, .. } => {
                "the archive is broken or hostile; nothing of it was kept".into()
            }
            ImageError::Archive { source: ArchiveError::Truncated { .. }, .. } => {
                "get the archive again: the end of it is missing".into()
            }
            _ => return None,
        };
        Some(text)
    }

    /// The error as it crosses the socket, causes included.
    pub fn to_api(&self) -> ApiError {
        ApiError::failed(whole(self), self.hint())
    }
}

/// Names file and step of a failed system call.
pub(super) trait StateIo<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, ImageError>;
}

impl<T, E: Into<io::Error>> StateIo<T> for Result<T, E> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, ImageError> {
        self.map_err(|e| ImageError::Io { path: path.to_owned(), doing, source: e.into() })
    }
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}
