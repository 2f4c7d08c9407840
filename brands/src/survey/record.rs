//! What a root says of itself beside os-release(5), and what installs its packages.

use std::{fmt, io::Read};

use serde::{Deserialize, Serialize};

use crate::{detect::RootFs, text::escape};

/// Files in which systems older than os-release(5) say what they are, and the newer ones still do: the most telling first.
const RECORDS: [&str; 10] = [
    "/etc/debian_version",
    "/etc/alpine-release",
    "/etc/centos-release",
    "/etc/redhat-release",
    "/etc/SuSE-release",
    "/etc/slackware-version",
    "/etc/gentoo-release",
    "/etc/lsb-release",
    "/etc/arch-release",
    "/etc/issue",
];
/// Most of one that is read, bytes.
const MAX_RECORD: u64 = 1024;

/// A file in which a system says what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// Its path.
    pub path: String,
    /// Its first line that says something, escaped.
    pub says: String,
}

pub(super) fn records(root: &impl RootFs) -> Vec<Record> {
    let read = |path: &&str| {
        let mut text = Vec::new();
        let file = root.open(path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))?;
        file.take(MAX_RECORD).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        let says = text.lines().map(str::trim).find(|line| !line.is_empty()).map(escape)?;
        Some(Record { path: (*path).to_owned(), says })
    };
    RECORDS.iter().filter_map(read).collect()
}

/// What installs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    /// Debian's.
    Dpkg,
    /// rpm with its packages in a Berkeley DB, which an overlay may damage.
    RpmBdb,
    /// rpm with another database.
    Rpm,
    /// Alpine's.
    Apk,
    /// Arch Linux's.
    Pacman,
    /// Gentoo's.
    Portage,
}

/// Its database, by which it is known.
const DATABASES: [(&str, PackageManager); 9] = [
    ("/var/lib/dpkg/status", PackageManager::Dpkg),
    ("/var/lib/rpm/Packages", PackageManager::RpmBdb),
    ("/var/lib/rpm/rpmdb.sqlite", PackageManager::Rpm),
    ("/usr/lib/sysimage/rpm/rpmdb.sqlite", PackageManager::Rpm),
    ("/usr/lib/sysimage/rpm/Packages.db", PackageManager::Rpm),
    ("/lib/apk/db/installed", PackageManager::Apk),
    ("/usr/lib/apk/db/installed", PackageManager::Apk),
    ("/var/lib/pacman/local/ALPM_DB_VERSION", PackageManager::Pacman),
    ("/var/lib/portage/world", PackageManager::Portage),
];

impl fmt::Display for PackageManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PackageManager::Dpkg => "dpkg",
            PackageManager::RpmBdb => "rpm (Berkeley DB)",
            PackageManager::Rpm => "rpm",
            PackageManager::Apk => "apk",
            PackageManager::Pacman => "pacman",
            PackageManager::Portage => "portage",
        })
    }
}

pub(super) fn package_managers(root: &impl RootFs) -> Vec<PackageManager> {
    let mut found: Vec<_> =
        DATABASES.iter().filter(|(path, _)| root.open(path).is_ok()).map(|(_, manager)| *manager).collect();
    found.dedup();
    found
}
