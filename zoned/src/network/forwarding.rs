//! Forwarding of packets on interfaces of the host: switched on for the uplinks alone, noted, and put back.
//!
//! One interface at a time, so that the host does not become a router between networks of its own: `forwarding` for
//! IPv4, `force_forwarding` for IPv6 (Linux 6.17; before that IPv6 knows only all or nothing, and is left alone).

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::error::NetworkError;
use crate::store::{self, atomic::Keep, record::VERSION};

/// What was before, by the file under `/proc/sys/net`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Before {
    version: u32,
    values: BTreeMap<String, String>,
}

/// Switches forwarding on for these interfaces and off, as it was, for those of earlier.
pub(super) fn set(record: &Path, uplinks: &[String]) -> Result<(), NetworkError> {
    let mut before: Before = store::load(record).unwrap_or_default();
    before.version = VERSION;
    let wanted: Vec<String> = uplinks.iter().flat_map(|link| switches(link)).collect();
    let (keep, undo) = before.values.into_iter().partition(|(file, _)| wanted.contains(file));
    before.values = keep;
    put_back(&undo);
    for file in wanted {
        let Ok(value) = fs::read_to_string(&file) else { continue };
        if value.trim() != "1" {
            before.values.entry(file).or_insert_with(|| value.trim().to_owned());
        }
    }
    if before.values.is_empty() {
        // None there is as good.
        let _ = fs::remove_file(record);
        return Ok(());
    }
    // Noted before it is done: whoever finds the note can undo what was not, too.
    store::save(record, &before, Keep::ThroughExit)?;
    before.values.keys().try_for_each(|file| switch(file, "1"))
}

/// Both switches of an interface. A dot in its name is a slash there (sysctl(8)).
pub(super) fn switches(link: &str) -> [String; 2] {
    ["ipv4/conf/{}/forwarding", "ipv6/conf/{}/force_forwarding"]
        .map(|form| format!("/proc/sys/net/{}", form.replace("{}", link)))
}

/// Writes a switch.
pub(super) fn switch(file: &str, value: &str) -> Result<(), NetworkError> {
    fs::write(file, value).map_err(NetworkError::link("write", file))
}

fn put_back(values: &BTreeMap<String, String>) {
    for (file, value) in values {
        // The interface may be gone.
        if let Err(e) = fs::write(file, value) {
            tracing::warn!("{file}: cannot be put back to {value}: {e}");
        }
    }
}
