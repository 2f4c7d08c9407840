//! Shares of `global`, the host's own processes: what was asked for, in `<state>/global.json`.
//!
//! Who is changing them, and who has the scheduler begin with them, do so one after the other: what is in force is what is kept.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize, de::Error};
use zoned_api::config::{DEFAULT_SHARES, GLOBAL, global_shares};

use crate::{
    ebpf::EbpfError,
    fault::whole,
    store::{self, StoreError, atomic::Keep, record::VERSION},
};

const FILE: &str = "global.json";

/// Why its shares stay what they were.
#[derive(Debug, thiserror::Error)]
pub enum GlobalError {
    /// The scheduler cannot be told.
    #[error("{GLOBAL}: cpu.shares: the scheduler cannot be told")]
    Weigh(#[from] EbpfError),
    /// They cannot be kept for the next daemon.
    #[error("{GLOBAL}: cpu.shares: cannot be kept")]
    Keep(#[from] StoreError),
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Global {
    file: PathBuf,
    asked: Mutex<Asked>,
}

#[derive(Debug)]
struct Asked {
    shares: u32,
    /// The file is there and cannot be read.
    fault: Option<StoreError>,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    shares: u32,
}

impl Global {
    /// As it was kept. If that cannot be read the default holds, and the file stays until shares are set.
    pub(super) fn open(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        let (shares, fault) = match load(&file) {
            Ok(kept) => (kept.unwrap_or(DEFAULT_SHARES as u32), None),
            Err(fault) => {
                tracing::error!("{GLOBAL} has {DEFAULT_SHARES} shares: {}", whole(&fault));
                (DEFAULT_SHARES as u32, Some(fault))
            }
        };
        Self { file, asked: Mutex::new(Asked { shares, fault }) }
    }

    /// Its shares, 1 to 10000.
    pub(super) fn shares(&self) -> u32 {
        self.lock().shares
    }

    /// Why what was kept is not known.
    pub(super) fn fault(&self) -> Option<String> {
        self.lock().fault.as_ref().map(|fault| whole(fault))
    }

    /// Uses its shares, which nobody changes meanwhile.
    pub(super) fn with<T>(&self, using: impl FnOnce(u32) -> T) -> T {
        using(self.lock().shares)
    }

    /// Gives it other shares, by `weigh` where something keeps them, and for the next daemon. All or nothing.
    pub(super) fn change(
        &self,
        shares: u32,
        weigh: impl Fn(u32) -> Result<(), EbpfError>,
    ) -> Result<(), GlobalError> {
        let mut asked = self.lock();
        if matches!(asked.fault, Some(StoreError::Newer { .. })) {
            // What else is in it would be lost.
            load(&self.file)?;
        }
        weigh(shares)?;
        let kept = store::save(&self.file, &Kept { version: VERSION, shares }, Keep::ThroughCrash);
        if let Err(e) = kept {
            if let Err(e) = weigh(asked.shares) {
                tracing::error!("{GLOBAL} has {shares} shares until zoned is started again: {}", whole(&e));
            }
            return Err(e.into());
        }
        *asked = Asked { shares, fault: None };
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was kept; nothing if nothing was.
fn load(file: &Path) -> Result<Option<u32>, StoreError> {
    match store::load::<Kept>(file) {
        Ok(Kept { shares, .. }) => {
            let values = [("cpu.shares".to_owned(), shares.to_string())].into();
            let damaged =
                |e| StoreError::Damaged { path: file.to_owned(), source: serde_json::Error::custom(e) };
            global_shares(&values).map(Some).map_err(damaged)
        }
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, fs};

    use super::*;

    #[test]
    fn shares_are_kept_for_the_next_daemon() {
        let state = tempfile::tempdir().unwrap();
        let global = Global::open(state.path());
        assert_eq!((global.shares(), global.fault()), (100, None));
        global.change(300, |_| Ok(())).unwrap();
        assert_eq!((global.shares(), Global::open(state.path()).shares()), (300, 300));
    }

    #[test]
    fn a_change_is_made_whole_or_not_at_all() {
        let state = tempfile::tempdir().unwrap();
        let global = Global::open(state.path());
        let refused = |_| Err(EbpfError::Stub);
        assert!(matches!(global.change(7, refused), Err(GlobalError::Weigh(_))));
        assert_eq!((global.shares(), Global::open(state.path()).shares()), (100, 100));
        // Nothing can be written where there is no folder.
        let lost = Global::open(&state.path().join("gone"));
        let told = RefCell::new(Vec::new());
        let tell = |shares| {
            told.borrow_mut().push(shares);
            Ok(())
        };
        assert!(matches!(lost.change(7, tell), Err(GlobalError::Keep(_))));
        assert_eq!((told.into_inner(), lost.shares()), (vec![7, 100], 100));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_and_one_of_a_newer_zoned_kept() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join(FILE);
        for (text, says) in [
            ("{\"version\":1,\"sha", "damaged"),
            ("{\"version\":1,\"shares\":0}", "damaged: global: cpu.shares=0"),
            ("{\"version\":2,\"shares\":{}}", "newer zoned"),
        ] {
            fs::write(&file, text).unwrap();
            let global = Global::open(state.path());
            let fault = global.fault().unwrap();
            assert!(global.shares() == 100 && fault.contains(says), "{fault}");
            let changed = global.change(5, |_| Ok(()));
            assert_eq!(changed.is_err(), says.contains("newer"), "{says}");
            assert_eq!(fs::read_to_string(&file).unwrap() == text, says.contains("newer"));
        }
    }
}
