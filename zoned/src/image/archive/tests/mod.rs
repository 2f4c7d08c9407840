//! Archives, honest and hostile, against a real folder.

mod honest;
mod hostile;
mod round;

use std::{fs, os::fd::AsFd, path::Path};

use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::fault::whole;

/// Writes archives that the crate `tar` would refuse to write.
#[derive(Default)]
struct Maker(Vec<u8>);

impl Maker {
    fn entry(self, kind: EntryType, name: &str, link: &str, data: &[u8]) -> Self {
        self.with(kind, name, link, data, |_| {})
    }

    fn with(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(data.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        change(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", data)
    }

    fn folder(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, to, b"")
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Link, name, to, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let record = |(key, value): &(&str, &[u8])| {
            let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let mut length = body.len() + 1;
            while format!("{length}").len() + body.len() != length {
                length += 1;
            }
            [format!("{length}").into_bytes(), body].concat()
        };
        let data = records.iter().map(record).collect::<Vec<_>>().concat();
        self.entry(EntryType::XHeader, "pax", "", &data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// A folder to unpack into, inside one where nothing else may appear, beside a secret nothing may reach.
struct Ground {
    top: TempDir,
}

impl Ground {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("in")).unwrap();
        fs::write(top.path().join("secret"), "secret").unwrap();
        Ground { top }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.top.path().join("in")
    }

    fn unpack(&self, archive: &[u8]) -> Result<Summary, ArchiveError> {
        self.unpack_by(archive, &rules())
    }

    fn unpack_by(&self, archive: &[u8], rules: &Rules) -> Result<Summary, ArchiveError> {
        let dir = fs::File::open(self.dir()).unwrap();
        let result = unpack(archive, dir.as_fd(), rules, &mut |_| {});
        self.assert_untouched();
        result
    }

    /// Nothing outside of the folder was made, changed or linked to.
    fn assert_untouched(&self) {
        use std::os::unix::fs::MetadataExt;
        let mut names: Vec<_> = fs::read_dir(&self.top).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["in", "secret"]);
        let secret = self.top.path().join("secret");
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1);
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir().join(path)).unwrap()
    }

    fn exists(&self, path: &str) -> bool {
        self.dir().join(path).symlink_metadata().is_ok()
    }
}

/// Rules a test without privilege can follow as well.
fn rules() -> Rules {
    let owners = if is_root() { Owners::Kept } else { Owners::Caller };
    Rules { owners, ..Rules::default() }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a test that needs root must be left out; says so.
fn without_root(what: &str) -> bool {
    if !is_root() {
        eprintln!("skipped: {what} needs root");
    }
    !is_root()
}

fn refusal(result: Result<Summary, ArchiveError>) -> Refusal {
    match result {
        Err(ArchiveError::Refused { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}
