//! Which host ids belong to which zone.
//!
//! A range is a link in `<state>/ids`, named by its first id and pointing to the zone's UUID: making it is the
//! allocation, and two cannot have the same. Files on disk keep the ids the userland wrote (0 to 65535), so that
//! losing a link costs nothing but a new range at the next start.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{StoreError, atomic::sync_folder};
use crate::plan::{FIRST_ID, IDS, IdRange};

/// First host id that is never given to a zone: ids at and above 2^31 are negative to some old programs.
const END: u32 = 0x8000_0000;

/// The ranges given to zones.
#[derive(Debug)]
pub struct Ids {
    folder: PathBuf,
}

impl Ids {
    /// Opens the folder, which exists.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The range of a zone; a free one is given to it if it has none.
    ///
    /// Free means: clear of every other zone, of `/etc/subuid` and `/etc/subgid`, and of the host's users and groups.
    pub fn of(&self, zone: &Uuid) -> Result<IdRange, StoreError> {
        let given = self.given()?;
        if let Some((base, _)) = given.iter().find(|(_, owner)| owner == &zone.to_string()) {
            return Ok(IdRange { base: *base, count: IDS });
        }
        let mut taken = host_ids(Path::new("/etc"));
        taken.extend(given.iter().map(|(base, _)| (u64::from(*base), u64::from(IDS))));
        loop {
            let base = free(&taken).ok_or(StoreError::NoIds)?;
            let link = self.folder.join(base.to_string());
            match symlink(zone.to_string(), &link) {
                // Somebody was faster.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    taken.push((u64::from(base), u64::from(IDS)))
                }
                Err(e) => return Err(StoreError::io(&link, "make")(e)),
                Ok(()) => {
                    sync_folder(&self.folder).map_err(StoreError::io(&self.folder, "write to disk"))?;
                    return Ok(IdRange { base, count: IDS });
                }
            }
        }
    }

    /// Takes a zone's range back.
    pub fn free(&self, zone: &Uuid) -> Result<(), StoreError> {
        for (base, _) in self.given()?.iter().filter(|(_, owner)| owner == &zone.to_string()) {
            let link = self.folder.join(base.to_string());
            fs::remove_file(&link).map_err(StoreError::io(&link, "remove"))?;
        }
        Ok(())
    }

    /// Every range with the UUID it is given to, as text.
    pub fn given(&self) -> Result<Vec<(u32, String)>, StoreError> {
        let entries = fs::read_dir(&self.folder).map_err(StoreError::io(&self.folder, "read"))?;
        let range = |entry: io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            let base = path.file_name()?.to_str()?.parse().ok()?;
            Some((base, fs::read_link(&path).ok()?.to_string_lossy().into_owned()))
        };
        Ok(entries.filter_map(range).collect())
    }
}

/// First range at or after [`FIRST_ID`] that meets none of the given ones (first id, count).
fn free(taken: &[(u64, u64)]) -> Option<u32> {
    (FIRST_ID..END).step_by(IDS as usize).find(|base| {
        let (from, to) = (u64::from(*base), u64::from(*base) + u64::from(IDS));
        taken.iter().all(|(start, count)| start.saturating_add(*count) <= from || to <= *start)
    })
}

/// Ids the host uses itself: subordinate ids, users and groups.
fn host_ids(etc: &Path) -> Vec<(u64, u64)> {
    let lines = |file: &str| {
        let text = fs::read(etc.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .map(|l| l.split(':').map(str::to_owned).collect())
            .collect::<Vec<Vec<String>>>()
    };
    let number = |line: &[String], at: usize| line.get(at).and_then(|n| n.trim().parse::<u64>().ok());
    let subordinate = ["subuid", "subgid"].into_iter().flat_map(lines);
    let mut found: Vec<_> = subordinate.filter_map(|l| Some((number(&l, 1)?, number(&l, 2)?))).collect();
    found.extend(["passwd", "group"].into_iter().flat_map(lines).filter_map(|l| Some((number(&l, 2)?, 1))));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (tempfile::TempDir, Ids) {
        let folder = tempfile::tempdir().unwrap();
        let ids = Ids::new(folder.path().to_owned());
        (folder, ids)
    }

    #[test]
    fn a_zone_keeps_its_range_and_no_two_meet() {
        let (_keep, ids) = ids();
        let zones: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
        let first: Vec<u32> = zones.iter().map(|z| ids.of(z).unwrap().base).collect();
        let again: Vec<u32> = zones.iter().map(|z| ids.of(z).unwrap().base).collect();
        assert_eq!(first, again);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|w| w[1] - w[0] >= IDS));
        ids.free(&zones[3]).unwrap();
        assert_eq!(ids.of(&Uuid::new_v4()).unwrap().base, first[3], "a freed range is given again");
    }

    #[test]
    fn zones_made_at_one_moment_get_different_ranges() {
        let (_keep, ids) = ids();
        let start = std::sync::Barrier::new(16);
        let ask = || {
            start.wait();
            ids.of(&Uuid::new_v4()).unwrap().base
        };
        let mut bases: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        bases.sort_unstable();
        bases.dedup();
        assert_eq!(bases.len(), 16);
    }

    #[test]
    fn stays_clear_of_what_the_host_uses() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("subuid"), format!("a:100000:65536\nb:{}:65536\nbroken\n", FIRST_ID + 10))
            .unwrap();
        fs::write(etc.path().join("passwd"), format!("x:x:{}:0::/:\n", FIRST_ID + 2 * IDS + 7)).unwrap();
        assert_eq!(free(&host_ids(etc.path())), Some(FIRST_ID + 3 * IDS));
        assert_eq!(free(&[(0, u64::MAX)]), None);
    }
}
