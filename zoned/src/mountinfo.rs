//! What is mounted where in this process' mount namespace: `/proc/self/mountinfo`, parsed.
//!
//! Reads only. A mount that another one covers is listed too; [`Mount::visible`] tells.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::PathBuf,
};

/// One line of mountinfo, as far as anybody here needs it (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Device number of the file system, as stat(2) gives it.
    pub dev: u64,
    /// Root of the mount within its file system.
    pub root: PathBuf,
    /// Where it is.
    pub target: PathBuf,
    /// Type of the file system.
    pub fstype: String,
    /// What it was mounted from; free text for most virtual file systems.
    pub source: String,
    /// Options of the file system itself, not of the mount.
    pub options: Vec<String>,
}

impl Mount {
    /// Whether its path leads to it: a later mount may cover it, or cover a folder above.
    pub fn visible(&self) -> bool {
        fs::metadata(&self.target).is_ok_and(|m| m.dev() == self.dev)
    }

    /// Whether it has an option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

/// All mounts of this process' mount namespace, in the order they were made.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// Parses mountinfo; lines of another form are passed over.
fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    // Optional fields of any number stand between the sixth and a single hyphen.
    let hyphen = fields.iter().skip(6).position(|f| *f == b"-")? + 6;
    let text = |at: usize| Some(String::from_utf8_lossy(fields.get(at)?).into_owned());
    let path = |at: usize| Some(PathBuf::from(unescape(fields.get(at)?)));
    let device = text(2)?;
    let (major, minor) = device.split_once(':')?;
    Some(Mount {
        dev: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
        root: path(3)?,
        target: path(4)?,
        fstype: text(hyphen + 1)?,
        source: PathBuf::from(unescape(fields.get(hyphen + 2)?)).to_string_lossy().into_owned(),
        options: text(hyphen + 3)?.split(',').map(str::to_owned).collect(),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if first == b'\\' => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn parses_optional_fields_and_escapes() {
        let text = b"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 master:1 - cgroup2 cgroup2 rw,nsdelegate\n\
            52 31 8:1 /a\\040b /mnt/x\\134y rw - ext4 /dev/sda1 rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].target, Path::new("/sys/fs/cgroup/unified"));
        assert!(mounts[0].has("nsdelegate") && mounts[0].fstype == "cgroup2");
        assert_eq!(mounts[0].dev, rustix::fs::makedev(0, 38));
        assert_eq!(
            (mounts[1].root.as_path(), mounts[1].target.as_path()),
            (Path::new("/a b"), Path::new("/mnt/x\\y"))
        );
    }

    #[test]
    fn this_process_has_a_visible_proc() {
        let all = mounts().unwrap();
        assert!(all.iter().any(|m| m.fstype == "proc" && m.target == Path::new("/proc") && m.visible()));
    }
}
