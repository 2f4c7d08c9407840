//! Which system a root is: by os-release(5), or by what came before it.

use serde::{Deserialize, Serialize};

use super::{Record, Survey};
use crate::elf::Release;

/// A system's name and release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// As os-release(5) has it: `debian`, `centos`, `alpine`.
    pub id: String,
    /// What it is like, nearest first.
    pub like: Vec<String>,
    /// Its release; none of a rolling one.
    pub release: Option<Release>,
    /// How it says so, and where.
    pub says: String,
}

/// Systems by the first word of `/etc/redhat-release` and its like, and what they are like.
const WORDS: [(&str, &str, &[&str]); 8] = [
    ("centos", "centos", &["rhel", "fedora"]),
    ("red", "rhel", &["fedora"]),
    ("scientific", "scientific", &["rhel", "fedora"]),
    ("oracle", "ol", &["rhel", "fedora"]),
    ("rocky", "rocky", &["rhel", "centos", "fedora"]),
    ("almalinux", "almalinux", &["rhel", "centos", "fedora"]),
    ("fedora", "fedora", &[]),
    ("suse", "suse", &[]),
];

impl Survey {
    /// Which system it is; none if it does not say.
    pub fn identity(&self) -> Option<Identity> {
        if let Some(os) = self.detection.as_ref().and_then(|detection| detection.os.as_ref()) {
            let says = os.pretty_name.as_deref().unwrap_or(&os.id);
            return Some(Identity {
                id: os.id.clone(),
                like: os.like.clone(),
                release: os.version.as_deref().and_then(Release::parse),
                says: format!("{says}, by its os-release"),
            });
        }
        self.records.iter().find_map(of_record)
    }
}

fn of_record(record: &Record) -> Option<Identity> {
    let named = |id: &str, like: &[&str]| Identity {
        id: id.to_owned(),
        like: like.iter().map(|like| (*like).to_owned()).collect(),
        release: first_release(&record.says),
        says: format!("{}, by its {}", record.says, record.path),
    };
    match record.path.as_str() {
        "/etc/debian_version" => Some(named("debian", &[])),
        "/etc/alpine-release" => Some(named("alpine", &[])),
        "/etc/centos-release" | "/etc/redhat-release" | "/etc/SuSE-release" => {
            let word = record.says.split_whitespace().next()?.to_lowercase();
            WORDS.iter().find(|(first, ..)| *first == word).map(|(_, id, like)| named(id, like))
        }
        "/etc/slackware-version" => Some(named("slackware", &[])),
        "/etc/gentoo-release" => Some(named("gentoo", &[])),
        "/etc/arch-release" => Some(named("arch", &[])),
        _ => None,
    }
}

/// The first word that begins as a number does.
fn first_release(text: &str) -> Option<Release> {
    text.split_whitespace().find_map(Release::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_older_than_os_release_are_known() {
        let of = |path: &str, says: &str| {
            let found = of_record(&Record { path: path.into(), says: says.into() })?;
            Some(format!("{} {}", found.id, found.release.map(|r| r.to_string()).unwrap_or_default()))
        };
        assert_eq!(of("/etc/redhat-release", "CentOS release 6.10 (Final)").unwrap(), "centos 6.10");
        let rhel = "Red Hat Enterprise Linux Server release 5.11 (Tikanga)";
        assert_eq!(of("/etc/redhat-release", rhel).unwrap(), "rhel 5.11");
        assert_eq!(of("/etc/debian_version", "4.0").unwrap(), "debian 4.0");
        // Its releases of tomorrow have no number.
        assert_eq!(of("/etc/debian_version", "trixie/sid").unwrap(), "debian ");
        assert_eq!(of("/etc/slackware-version", "Slackware 14.2").unwrap(), "slackware 14.2");
        assert_eq!(of("/etc/issue", "Ubuntu 10.04"), None);
        assert_eq!(of("/etc/redhat-release", ""), None);
    }
}
