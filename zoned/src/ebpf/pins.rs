//! Where maps, links and programs are pinned, so that they outlive zoned.
//!
//! ```text
//! <pins>/layout-<L>/maps/<map>
//!                   programs-<G>/<program>     links, and the programs that are run, or attached where a zone is
//!        links/<zone>-<program>                where these are attached to the group of a zone
//! ```
//! Maps are kept for as long as their layout is spoken. Each generation of programs has a folder of its own;
//! `zone_meta` in the maps says which generation works, and every other folder is a leftover of a zoned that was
//! killed while it replaced programs, and is removed.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags};
use zone_ebpf_abi::{LAYOUT, names};

use super::EbpfError;
use crate::sys::bpf;

/// `BPF_FS_MAGIC`.
const BPFFS: u64 = 0xcafe_4a11;

const MAPS: &str = "maps";
const LAYOUT_PREFIX: &str = "layout-";
const PROGRAMS_PREFIX: &str = "programs-";
const LINKS: &str = "links";
const SCHEDULER: &str = "fss";

/// Programs that are pinned themselves.
const PINNED: [&str; 5] =
    [names::FLUSH, names::SENT, names::RECEIVED, names::SOCKET_SENT, names::SOCKET_RECEIVED];

/// The pins of one zoned.
pub(super) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Opens or makes the folder, which only root may enter.
    pub(super) fn open(root: &Path) -> Result<Self, EbpfError> {
        make(root)?;
        let folder =
            rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
                .and_then(rustix::fs::fstatfs)
                .map_err(|e| EbpfError::pin(root, "look at its file system")(e.into()))?;
        if folder.f_type as u64 != BPFFS {
            return Err(EbpfError::NotBpffs { path: root.into() });
        }
        let pins = Pins { root: root.into() };
        make(&pins.layout())?;
        make(&pins.layout().join(MAPS))?;
        make(&pins.links())?;
        Ok(pins)
    }

    fn layout(&self) -> PathBuf {
        self.root.join(format!("{LAYOUT_PREFIX}{LAYOUT}"))
    }

    /// Where a map is.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.layout().join(MAPS).join(name)
    }

    /// Where the programs of a generation are.
    pub(super) fn programs(&self, generation: u32) -> PathBuf {
        self.layout().join(format!("{PROGRAMS_PREFIX}{generation}"))
    }

    /// An empty folder for a generation of programs.
    pub(super) fn begin_programs(&self, generation: u32) -> Result<PathBuf, EbpfError> {
        let folder = self.programs(generation);
        remove(&folder)?;
        make(&folder)?;
        Ok(folder)
    }

    /// Whether a generation is whole: every program is there and attached, and the device policy to that cgroup.
    pub(super) fn intact(&self, generation: u32, cgroup_id: u64) -> bool {
        let folder = self.programs(generation);
        let link = |name: &str| bpf::get_pinned(&folder.join(name)).and_then(|fd| bpf::link_info(&fd));
        names::TRACEPOINTS.iter().all(|(program, _)| link(program).is_ok())
            && link(names::DEVICE).is_ok_and(|info| info.cgroup_id == Some(cgroup_id))
            && PINNED.iter().all(|program| bpf::get_pinned(&folder.join(program)).is_ok())
    }

    /// Where it is pinned which groups of zones programs are attached to. No layout's own: whatever the programs, they must not
    /// be detached while they are replaced.
    pub(super) fn links(&self) -> PathBuf {
        self.root.join(LINKS)
    }

    /// Where the scheduler is, whatever the layout.
    pub(super) fn scheduler(&self) -> PathBuf {
        self.root.join(SCHEDULER)
    }

    /// Whether every map is there.
    pub(super) fn has_maps(&self) -> bool {
        names::MAPS.iter().all(|name| self.map(name).exists())
    }

    /// Folders of other layouts, whose programs work still.
    pub(super) fn other_layouts(&self) -> Result<Vec<PathBuf>, EbpfError> {
        let ours = self.layout();
        children(&self.root, LAYOUT_PREFIX).map(|found| found.into_iter().filter(|f| *f != ours).collect())
    }

    /// Removes what is not of the working generation. What was attached there no longer is.
    pub(super) fn sweep(&self, working: u32) -> Result<(), EbpfError> {
        let working = self.programs(working);
        let stale =
            children(&self.layout(), PROGRAMS_PREFIX)?.into_iter().filter(|folder| *folder != working);
        stale.chain(self.other_layouts()?).try_for_each(|folder| remove(&folder))
    }
}

/// Folders with programs in a layout's folder, with their generations.
pub(super) fn generations(layout: &Path) -> Result<Vec<PathBuf>, EbpfError> {
    children(layout, PROGRAMS_PREFIX)
}

/// Where a map is in a layout's folder.
pub(super) fn map_of(layout: &Path, name: &str) -> PathBuf {
    layout.join(MAPS).join(name)
}

/// Removes a folder of pins with everything in it; it may be gone already.
pub(super) fn remove(folder: &Path) -> Result<(), EbpfError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(EbpfError::pin(folder, "remove it")(e)),
        _ => Ok(()),
    }
}

/// Removes all folders that [`Pins`] makes in `root`, and `root` itself if nothing else is in it.
pub(super) fn remove_all(root: &Path) -> Result<(), EbpfError> {
    if !root.exists() {
        return Ok(());
    }
    children(root, LAYOUT_PREFIX)?.iter().try_for_each(|folder| remove(folder))?;
    remove(&root.join(SCHEDULER))?;
    remove(&root.join(LINKS))?;
    match fs::remove_dir(root) {
        // The root of a mounted bpffs is busy; what others put here is theirs.
        Err(e) if !matches!(e.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty) => {
            Err(EbpfError::pin(root, "remove it")(e))
        }
        _ => Ok(()),
    }
}

pub(super) fn make(folder: &Path) -> Result<(), EbpfError> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(EbpfError::pin(folder, "make the folder")(e))
        }
        _ => Ok(()),
    }
}

pub(super) fn children(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>, EbpfError> {
    let doing = "list it";
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(EbpfError::pin(folder, doing))? {
        let entry = entry.map_err(EbpfError::pin(folder, doing))?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
