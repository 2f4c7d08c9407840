//! Files that are either the old one or the new one, whatever happens meanwhile.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// How much a write must outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A crash of the host: the data and the folder are forced to the disk.
    ThroughCrash,
    /// The end of this process. A crash of the host may bring back the old file, or none.
    ThroughExit,
}

/// Replaces a file (mode 0600) in one step.
pub fn write(path: &Path, data: &[u8], keep: Keep) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let temp = folder.join(format!(".{}.tmp", name.to_string_lossy()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
    file.write_all(data)?;
    if keep == Keep::ThroughCrash {
        file.sync_all()?;
    }
    fs::rename(&temp, path)?;
    if keep == Keep::ThroughCrash { sync_folder(folder) } else { Ok(()) }
}

/// Forces a folder's entries to the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
