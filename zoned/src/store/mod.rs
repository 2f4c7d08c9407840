//! What outlives the daemon and the host: `<state>/zones/<uuid>/{zone.yaml,state.json,history.json,console.log}`.
//!
//! Owns these folders and `<state>/ids`. A zone's folder appears and disappears in one step. One that cannot be
//! read is left as it is and reported, and the others are none the worse. Nothing is named by a zone's name.

pub mod atomic;
pub mod ids;
pub mod record;

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;
use zoned_api::{ApiError, ZoneConfig};

use self::{
    atomic::{Keep, sync_folder, write},
    ids::Ids,
    record::{History, Record, VERSION},
};

/// Prefix of a folder that is being made or removed.
const UNFINISHED: &str = ".";

/// What can go wrong with what is kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be worked with.
    #[error("{path}: cannot {doing}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: damaged")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        source: serde_json::Error,
    },
    /// A newer daemon wrote it.
    #[error("{path}: written by a newer zoned (form {found}, this one knows up to {VERSION}); update zoned")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A configuration that was accepted once is not any more.
    #[error("{path}: not a valid configuration")]
    Config {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ApiError,
    },
    /// The folder's name and the record in it differ.
    #[error("{path}: holds the record of zone {uuid}")]
    Misplaced {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        uuid: Uuid,
    },
    /// All ranges are taken.
    #[error("no range of 65536 user ids is free on this host; delete a zone, or look at /etc/subuid")]
    NoIds,
}

impl StoreError {
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }
}

/// All that is kept of one zone.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Identity and root.
    pub record: Record,
    /// The configuration as it was written.
    pub yaml: String,
    /// The same, parsed.
    pub config: ZoneConfig,
    /// Its boots.
    pub history: History,
}

/// What is kept of all zones.
#[derive(Debug)]
pub struct Store {
    zones: PathBuf,
    /// Ranges of ids.
    pub ids: Ids,
}

impl Store {
    /// Opens it, and makes its folders (0700) where they are missing.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let (zones, ids) = (state_dir.join("zones"), state_dir.join("ids"));
        for folder in [&zones, &ids] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(StoreError::io(folder, "make"))?;
        }
        Ok(Self { zones, ids: Ids::new(ids) })
    }

    /// Folder of a zone.
    pub fn folder(&self, zone: &Uuid) -> PathBuf {
        self.zones.join(zone.to_string())
    }

    /// The console's log of a zone.
    pub fn console_log(&self, zone: &Uuid) -> PathBuf {
        self.folder(zone).join("console.log")
    }

    /// Everything that can be read, and why the rest cannot. Finishes removals that were interrupted.
    pub fn load(&self) -> Result<(Vec<Stored>, Vec<StoreError>), StoreError> {
        let (mut zones, mut faults) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.zones).map_err(StoreError::io(&self.zones, "read"))? {
            let entry = entry.map_err(StoreError::io(&self.zones, "read"))?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                if let Err(e) = fs::remove_dir_all(entry.path()) {
                    faults.push(StoreError::io(&entry.path(), "remove")(e));
                }
                continue;
            }
            match load_one(&entry.path()) {
                Ok(stored) => zones.push(stored),
                Err(fault) => faults.push(fault),
            }
        }
        for (_, owner) in self.ids.given()? {
            // Forgotten between its folder and its ids.
            if let Ok(uuid) = owner.parse::<Uuid>()
                && !self.folder(&uuid).exists()
            {
                self.ids.free(&uuid)?;
            }
        }
        zones.sort_by(|a, b| a.config.zone.cmp(&b.config.zone));
        Ok((zones, faults))
    }

    /// Keeps a new zone.
    pub fn create(&self, record: &Record, yaml: &str) -> Result<(), StoreError> {
        let folder = self.folder(&record.uuid);
        let unfinished = self.zones.join(format!("{UNFINISHED}{}", record.uuid));
        let made = fs::DirBuilder::new().mode(0o700).create(&unfinished);
        made.map_err(StoreError::io(&unfinished, "make"))?;
        save(&unfinished.join("state.json"), record, Keep::ThroughCrash)?;
        let text = unfinished.join("zone.yaml");
        write(&text, yaml.as_bytes(), Keep::ThroughCrash).map_err(StoreError::io(&text, "write"))?;
        fs::rename(&unfinished, &folder).map_err(StoreError::io(&folder, "make"))?;
        sync_folder(&self.zones).map_err(StoreError::io(&self.zones, "write to disk"))
    }

    /// Keeps a changed record.
    pub fn save_record(&self, record: &Record) -> Result<(), StoreError> {
        save(&self.folder(&record.uuid).join("state.json"), record, Keep::ThroughCrash)
    }

    /// Keeps a changed configuration.
    pub fn save_config(&self, zone: &Uuid, yaml: &str) -> Result<(), StoreError> {
        let path = self.folder(zone).join("zone.yaml");
        write(&path, yaml.as_bytes(), Keep::ThroughCrash).map_err(StoreError::io(&path, "write"))
    }

    /// Keeps the history, as far as the host lives on.
    pub fn save_history(&self, zone: &Uuid, history: &History) -> Result<(), StoreError> {
        save(&self.folder(zone).join("history.json"), history, Keep::ThroughExit)
    }

    /// Forgets a zone and frees its ids.
    pub fn remove(&self, zone: &Uuid) -> Result<(), StoreError> {
        let (folder, unfinished) = (self.folder(zone), self.zones.join(format!("{UNFINISHED}{zone}")));
        fs::rename(&folder, &unfinished).map_err(StoreError::io(&folder, "remove"))?;
        sync_folder(&self.zones).map_err(StoreError::io(&self.zones, "write to disk"))?;
        fs::remove_dir_all(&unfinished).map_err(StoreError::io(&unfinished, "remove"))?;
        self.ids.free(zone)
    }
}

fn load_one(folder: &Path) -> Result<Stored, StoreError> {
    let record: Record = load(&folder.join("state.json"))?;
    if folder.file_name().is_none_or(|name| *name != *record.uuid.to_string()) {
        return Err(StoreError::Misplaced { path: folder.to_owned(), uuid: record.uuid });
    }
    let path = folder.join("zone.yaml");
    let yaml = fs::read_to_string(&path).map_err(StoreError::io(&path, "read"))?;
    let config = ZoneConfig::parse(&yaml).map_err(|source| StoreError::Config { path, source })?;
    // Written without being forced to the disk: after a crash of the host anything may be there, and none is needed.
    let history = load(&folder.join("history.json")).unwrap_or_default();
    Ok(Stored { record, yaml, config, history })
}

/// Reads a versioned file. The version is looked at first: the rest of a newer form may look like anything.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |source| StoreError::Damaged { path: path.to_owned(), source };
    let data = fs::read(path).map_err(StoreError::io(path, "read"))?;
    let Versioned { version } = serde_json::from_slice(&data).map_err(damaged)?;
    if version > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found: version });
    }
    serde_json::from_slice(&data).map_err(damaged)
}

/// Writes a versioned file.
pub fn save<T: Serialize>(path: &Path, value: &T, keep: Keep) -> Result<(), StoreError> {
    let data =
        serde_json::to_vec(value).map_err(|source| StoreError::Damaged { path: path.to_owned(), source })?;
    write(path, &data, keep).map_err(StoreError::io(path, "write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_with(names: &[&str]) -> (tempfile::TempDir, Store, Vec<Uuid>) {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let make = |name: &&str| {
            let record = Record::new(Uuid::new_v4(), 1);
            store.create(&record, &format!("# kept as written\nzone: {name}\n")).unwrap();
            record.uuid
        };
        let uuids = names.iter().map(make).collect();
        (state, store, uuids)
    }

    #[test]
    fn what_was_written_is_read_back_with_its_comments() {
        let (_keep, store, uuids) = store_with(&["b", "a"]);
        let history = History { boot: 7, ..History::default() };
        store.save_history(&uuids[0], &history).unwrap();
        let (zones, faults) = store.load().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(zones.iter().map(|z| z.config.zone.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(zones[1].history, history);
        assert!(zones[1].yaml.starts_with("# kept as written\n"));
        store.remove(&uuids[0]).unwrap();
        assert_eq!(store.load().unwrap().0.len(), 1);
    }

    #[test]
    fn one_damaged_zone_does_not_take_the_others_with_it() {
        let (_keep, store, uuids) = store_with(&["a", "b", "c", "d", "e"]);
        let file = |i: usize, name: &str| store.folder(&uuids[i]).join(name);
        fs::write(file(0, "state.json"), b"{\"version\":1,\"uu").unwrap();
        fs::write(file(1, "zone.yaml"), b"zone: [").unwrap();
        fs::remove_file(file(2, "state.json")).unwrap();
        fs::copy(file(4, "state.json"), file(3, "state.json")).unwrap();
        let (zones, faults) = store.load().unwrap();
        assert_eq!(zones.iter().map(|z| z.config.zone.as_str()).collect::<Vec<_>>(), ["e"]);
        assert_eq!(faults.len(), 4);
        assert!(file(0, "zone.yaml").exists(), "what cannot be read is left for somebody who can");
        assert!(faults.iter().any(|f| matches!(f, StoreError::Misplaced { .. })), "{faults:?}");
    }

    #[test]
    fn a_newer_form_is_refused_by_name_and_damage_to_the_history_forgiven() {
        let (_keep, store, uuids) = store_with(&["a", "b"]);
        fs::write(store.folder(&uuids[0]).join("state.json"), b"{\"version\":2,\"shape\":\"new\"}").unwrap();
        fs::write(store.folder(&uuids[1]).join("history.json"), b"\0\0\0").unwrap();
        let (zones, faults) = store.load().unwrap();
        assert_eq!((zones.len(), zones[0].history.boot), (1, 0));
        assert!(faults[0].to_string().contains("newer zoned (form 2"), "{}", faults[0]);
    }

    #[test]
    fn an_interrupted_create_or_delete_leaves_nothing() {
        let (_keep, store, uuids) = store_with(&["a"]);
        let half = store.zones.join(format!(".{}", Uuid::new_v4()));
        fs::create_dir(&half).unwrap();
        store.ids.of(&uuids[0]).unwrap();
        fs::rename(store.folder(&uuids[0]), store.zones.join(format!(".{}", uuids[0]))).unwrap();
        let (zones, faults) = store.load().unwrap();
        assert!(zones.is_empty() && faults.is_empty());
        assert_eq!(fs::read_dir(&store.zones).unwrap().count(), 0);
        assert_eq!(store.ids.given().unwrap(), [], "the range of the one that was deleted is free");
    }
}
