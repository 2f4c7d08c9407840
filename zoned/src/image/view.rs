//! A zone's root looked into from outside, without mounting it.
//!
//! Layers and dataset are merged as the overlay does it: the uppermost wins, whiteouts (character device 0:0) hide,
//! an opaque folder ends the merging, folders of one name are one. Every component is opened by descriptor below
//! the one before it and never followed by the kernel; symbolic links are resolved here, against the merged root,
//! so that one in the upper layer can lead into a lower one and none can lead out.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use brands::detect::RootFs;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fgetxattr, fstat, openat, readlinkat, statat},
    io::Errno,
};

/// Most symbolic links on the way to a file, as in the kernel.
const MOST_LINKS: u32 = 40;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The root of a zone, for reading.
#[derive(Debug)]
pub struct RootView {
    /// Root folders of the dataset and the layers, uppermost first.
    layers: Vec<OwnedFd>,
    /// What is mounted on `/usr`.
    usr: Option<OwnedFd>,
}

/// The folder of one path in every layer that has it, uppermost first.
type Merged = Vec<OwnedFd>;

impl RootView {
    /// Opens the folders of a root, uppermost first, and the one mounted on its `/usr`, if any.
    pub fn open<P: AsRef<Path>>(folders: &[P], usr: Option<&Path>) -> io::Result<Self> {
        let open = |folder: &Path| openat(CWD, folder, FOLDER, Mode::empty());
        Ok(RootView {
            layers: folders.iter().map(|folder| open(folder.as_ref())).collect::<Result<_, _>>()?,
            usr: usr.map(open).transpose()?,
        })
    }

    /// The beginning of a file, at most `most` bytes.
    pub fn read(&self, path: &str, most: usize) -> io::Result<Vec<u8>> {
        let file = RootFs::open(self, path)?;
        let mut bytes = vec![0; most];
        let mut filled = 0;
        while filled < most {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn resolve(&self, path: &[u8]) -> Result<File, Errno> {
        let mut waiting: VecDeque<Vec<u8>> = parts(path).collect();
        let mut way: Vec<Vec<u8>> = Vec::new();
        let mut here = self.root()?;
        let mut links = 0;
        while let Some(part) = waiting.pop_front() {
            if part == b".." {
                // The root's parent is the root.
                way.pop();
                here = self.walk(&way)?;
                continue;
            }
            if let Some(usr) = self.mounted(&way, &part)? {
                here = usr;
                way.push(part);
                continue;
            }
            let (layer, stat) = find(&here, &part)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = readlinkat(&here[layer], &*part, Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        way.clear();
                        here = self.root()?;
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        waiting.push_front(part);
                    }
                }
                FileType::Directory => {
                    here = enter(&here, &part)?;
                    way.push(part);
                }
                FileType::RegularFile if waiting.is_empty() => return open_file(&here[layer], &part),
                _ if waiting.is_empty() => return Err(Errno::ACCESS),
                _ => return Err(Errno::NOTDIR),
            }
        }
        Err(Errno::ISDIR)
    }

    fn root(&self) -> Result<Merged, Errno> {
        self.layers.iter().map(|layer| openat(layer, ".", FOLDER, Mode::empty())).collect()
    }

    /// The folder at a path of folders.
    fn walk(&self, way: &[Vec<u8>]) -> Result<Merged, Errno> {
        let mut here = self.root()?;
        for (depth, part) in way.iter().enumerate() {
            here = match self.mounted(&way[..depth], part)? {
                Some(usr) => usr,
                None => enter(&here, part)?,
            };
        }
        Ok(here)
    }

    /// What covers the folder `name` in the folder `way`, if something is mounted on it.
    fn mounted(&self, way: &[Vec<u8>], name: &[u8]) -> Result<Option<Merged>, Errno> {
        match &self.usr {
            Some(usr) if way.is_empty() && name == b"usr" => {
                Ok(Some(vec![openat(usr, ".", FOLDER, Mode::empty())?]))
            }
            _ => Ok(None),
        }
    }
}

impl RootFs for RootView {
    fn open(&self, path: &str) -> io::Result<File> {
        Ok(self.resolve(path.as_bytes())?)
    }
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

/// The uppermost layer that has a name, and what it has there.
fn find(here: &Merged, name: &[u8]) -> Result<(usize, Stat), Errno> {
    for (layer, folder) in here.iter().enumerate() {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_whiteout(&stat) => return Err(Errno::NOENT),
            Ok(stat) => return Ok((layer, stat)),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Errno::NOENT)
}

/// A folder of a folder, in every layer that shows in it.
fn enter(here: &Merged, name: &[u8]) -> Result<Merged, Errno> {
    let mut found = Vec::new();
    for folder in here {
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            // A whiteout, or a file that a folder above it hides.
            break;
        }
        let fd = openat(folder, name, FOLDER, Mode::empty())?;
        let mut value = [0];
        let opaque = fgetxattr(&fd, "trusted.overlay.opaque", &mut value[..]) == Ok(1) && value == *b"y";
        found.push(fd);
        if opaque {
            break;
        }
    }
    if found.is_empty() { Err(Errno::NOTDIR) } else { Ok(found) }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Opens what was a regular file a moment ago, without acting on what a running zone may have put there since.
fn open_file(folder: &OwnedFd, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = openat(folder.as_fd(), name, flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
        FileType::RegularFile => Ok(fd.into()),
        _ => Err(Errno::ACCESS),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    struct Ground {
        top: tempfile::TempDir,
        view: RootView,
    }

    impl Ground {
        /// `secret` beside two layers, filled as told.
        fn new(fill: impl Fn(&Path, &Path)) -> Self {
            let top = tempfile::tempdir().unwrap();
            fs::write(top.path().join("secret"), "secret").unwrap();
            let (upper, lower) = (top.path().join("upper"), top.path().join("lower"));
            fs::create_dir(&upper).unwrap();
            fs::create_dir(&lower).unwrap();
            fill(&upper, &lower);
            let view = RootView::open(&[upper, lower], None).unwrap();
            Ground { top, view }
        }

        fn read(&self, path: &str) -> Result<String, Errno> {
            let text = self.view.read(path, 100).map_err(|e| Errno::from_io_error(&e).unwrap())?;
            Ok(String::from_utf8(text).unwrap())
        }
    }

    #[test]
    fn the_uppermost_wins_and_folders_are_one() {
        let ground = Ground::new(|upper, lower| {
            for (layer, text) in [(upper, "up"), (lower, "low")] {
                fs::create_dir_all(layer.join("etc/d")).unwrap();
                fs::write(layer.join("etc/both"), text).unwrap();
                fs::write(layer.join("etc/d").join(text), text).unwrap();
            }
        });
        assert_eq!(ground.read("/etc/both").unwrap(), "up");
        assert_eq!(ground.read("/etc/d/low").unwrap(), "low");
        assert_eq!(ground.read("etc/./d//up").unwrap(), "up");
        assert_eq!(ground.read("/etc"), Err(Errno::ISDIR));
        assert_eq!(ground.read("/etc/none"), Err(Errno::NOENT));
        assert_eq!(ground.read("/etc/both/x"), Err(Errno::NOTDIR));
    }

    #[test]
    fn links_cross_layers_and_never_lead_out() {
        let ground = Ground::new(|upper, lower| {
            fs::create_dir_all(lower.join("usr/lib")).unwrap();
            fs::write(lower.join("usr/lib/os-release"), "os").unwrap();
            fs::create_dir(upper.join("etc")).unwrap();
            symlink("../usr/lib/os-release", upper.join("etc/os-release")).unwrap();
            symlink("/usr/lib", upper.join("lib")).unwrap();
            symlink("../../../../../secret", upper.join("out")).unwrap();
            symlink("/../../secret", upper.join("out2")).unwrap();
            symlink("loop", upper.join("loop")).unwrap();
        });
        assert_eq!(ground.read("/etc/os-release").unwrap(), "os");
        assert_eq!(ground.read("/lib/os-release").unwrap(), "os");
        assert_eq!(ground.read("/lib/../lib/os-release").unwrap(), "os");
        for path in ["/out", "/out2", "/../secret", "/etc/../../secret"] {
            assert_eq!(ground.read(path), Err(Errno::NOENT), "{path}");
        }
        assert_eq!(ground.read("/loop"), Err(Errno::LOOP));
        assert!(ground.top.path().join("secret").exists());
    }

    #[test]
    fn what_is_mounted_on_usr_covers_it() {
        let ground = Ground::new(|upper, lower| {
            fs::create_dir_all(upper.join("usr/bin")).unwrap();
            fs::write(upper.join("usr/bin/hidden"), "").unwrap();
            fs::write(lower.join("seen"), "seen").unwrap();
            symlink("usr/bin", upper.join("bin")).unwrap();
        });
        let usr = tempfile::tempdir().unwrap();
        fs::create_dir(usr.path().join("bin")).unwrap();
        fs::write(usr.path().join("bin/tool"), "tool").unwrap();
        symlink("../../seen", usr.path().join("bin/up")).unwrap();
        let upper = ground.top.path().join("upper");
        let view = RootView::open(&[upper, ground.top.path().join("lower")], Some(usr.path())).unwrap();
        for (path, text) in [
            ("/bin/tool", "tool"),
            ("/usr/bin/tool", "tool"),
            ("/bin/up", "seen"),
            ("/usr/../bin/../bin/tool", "tool"),
        ] {
            assert_eq!(view.read(path, 10).unwrap(), text.as_bytes(), "{path}");
        }
        assert!(view.read("/bin/hidden", 10).is_err());
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let ground = Ground::new(|upper, _| {
            nix::unistd::mkfifo(&upper.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        });
        assert_eq!(ground.read("/pipe"), Err(Errno::ACCESS));
    }

    #[test]
    fn whiteouts_and_opaque_folders_hide() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: making a whiteout's attributes needs root");
            return;
        }
        let ground = Ground::new(|upper, lower| {
            for name in ["gone", "d/low", "e/low"] {
                fs::create_dir_all(lower.join(name).parent().unwrap()).unwrap();
                fs::write(lower.join(name), "low").unwrap();
            }
            fs::create_dir(upper.join("d")).unwrap();
            fs::create_dir(upper.join("e")).unwrap();
            let opaque = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(upper.join("d"), "trusted.overlay.opaque", b"y", opaque).unwrap();
            let mode = Mode::empty();
            rustix::fs::mknodat(CWD, upper.join("gone"), FileType::CharacterDevice, mode, 0).unwrap();
        });
        assert_eq!(ground.read("/gone"), Err(Errno::NOENT));
        assert_eq!(ground.read("/d/low"), Err(Errno::NOENT));
        assert_eq!(ground.read("/e/low").unwrap(), "low");
    }
}
