//! What of a file goes into an archive: its contents, as many as were announced, and its attributes.

use std::{
    ffi::CString,
    io::{self, Read},
    os::fd::BorrowedFd,
};

use rustix::{fs, io::Errno};

/// Largest list of attribute names and largest value the kernel knows (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const MOST_ATTRIBUTES: usize = 64 << 10;

/// As many bytes of a file as its header says, whatever becomes of it; an error is put aside, and zeros given,
/// so that it is not taken for one of the writer's.
pub(super) struct Exactly<'a> {
    pub(super) file: std::fs::File,
    pub(super) left: u64,
    pub(super) fault: &'a mut Option<io::Error>,
}

impl Read for Exactly<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = match self.file.read(&mut into[..most]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                // Ends the copying: the archive is not going to be used.
                self.left = 0;
                *self.fault = Some(e);
                return Ok(0);
            }
            Ok(0) => {
                into[..most].fill(0);
                most
            }
            Ok(n) => n,
        };
        self.left -= read as u64;
        Ok(read)
    }
}

/// The extended attributes that are kept, as names of pax records with values, sorted.
pub(super) fn attributes(fd: BorrowedFd<'_>) -> Result<Vec<(String, Vec<u8>)>, Errno> {
    // Most files have none; then no memory is taken.
    match fs::flistxattr_query(fd) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        more => more?,
    };
    let mut names = vec![0; MOST_ATTRIBUTES];
    let length = fs::flistxattr(fd, &mut names[..])?;
    let mut kept = Vec::new();
    for name in names[..length].split(|b| *b == 0) {
        let Ok(text) = std::str::from_utf8(name) else { continue };
        // A pax key ends at the first `=`.
        if !(text == "security.capability" || text.starts_with("user.")) || text.contains('=') {
            continue;
        }
        let Ok(c_name) = CString::new(name) else { continue };
        let mut value = vec![0; MOST_ATTRIBUTES];
        match fs::fgetxattr(fd, &c_name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            Err(Errno::NODATA) => continue,
            Err(e) => return Err(e),
        }
        kept.push((format!("SCHILY.xattr.{text}"), value));
    }
    kept.sort();
    Ok(kept)
}
