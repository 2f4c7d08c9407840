//! The layer of a sparse root: all but `/usr`, which is the host's.
//!
//! Programs in `/usr` expect to be configured in `/etc`, so some of the host's `/etc` is copied, by the list
//! below: what belongs to root and everybody may read, never what may hold a secret or says who this host is. Users
//! are Debian's base users, not the host's, and nobody has a password. The result depends on the host's files
//! alone, so that all sparse zones installed between two changes of the host share one layer.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

use crate::image::{ImageError, StateIo};

/// Links from the root into `/usr`, those of them the host has.
const USR_LINKS: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];

/// Folders and their modes; below `/usr` there is none, since the host's covers it.
const FOLDERS: [(&str, u32); 29] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/opt", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/lib/dbus", 0o755),
    ("var/lib/misc", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o2775),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/spool/cron", 0o755),
    ("var/tmp", 0o1777),
];

/// What of the host's `/etc` is copied where it is there; a `*` ends a prefix.
const ETC: [&str; 48] = [
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "default/locale",
    "ethertypes",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "iproute2",
    "issue",
    "issue.net",
    "java-*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "libaudit.conf",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "magic",
    "magic.mime",
    "manpath.config",
    "mime.types",
    "mke2fs.conf",
    "networks",
    "nsswitch.conf",
    "os-release",
    "pam.conf",
    "pam.d",
    "perl",
    "protocols",
    "python*",
    "rmt",
    "rpc",
    "security",
    "services",
    "shells",
    "skel",
    "ssl",
    "terminfo",
    "vim",
    "xattr.conf",
];

/// Copied from the files Debian's packages make a new system from, under another name.
const MADE_FROM: [(&str, &str); 3] = [
    ("usr/share/base-files/profile", "etc/profile"),
    ("usr/share/base-files/dot.bashrc", "root/.bashrc"),
    ("usr/share/base-files/dot.profile", "root/.profile"),
];

/// Largest file copied, in bytes.
const LARGEST: u64 = 16 << 20;

/// Time of everything in the archive. Not 0, which some programs take for none.
const MTIME: u64 = 1;

/// Whether a host's `/bin` and its like are links into `/usr`, without which its userland is not all in there.
fn merged_usr(host: &Path) -> bool {
    ["bin", "lib"].iter().all(|name| host.join(name).is_symlink())
}

/// The skeleton for a host, as a tar archive.
pub(super) fn archive(host: &Path) -> Result<Vec<u8>, ImageError> {
    if !merged_usr(host) {
        let why = "this host keeps /bin and /lib apart from /usr, so that its /usr is not a whole userland";
        return Err(ImageError::Sparse(why.into()));
    }
    let mut skeleton = Skeleton { host, archive: Builder::new(Vec::new()) };
    skeleton.fill()?;
    skeleton.archive.into_inner().doing("pack", host)
}

struct Skeleton<'a> {
    host: &'a Path,
    archive: Builder<Vec<u8>>,
}

impl Skeleton<'_> {
    fn fill(&mut self) -> Result<(), ImageError> {
        self.folder("./", 0o755)?;
        for (path, mode) in FOLDERS {
            self.folder(path, mode)?;
        }
        for name in USR_LINKS {
            if self.host.join(name).is_symlink() {
                self.copy(Path::new(name))?;
            }
        }
        for (path, target) in
            [("var/run", "/run"), ("var/lock", "/run/lock"), ("etc/mtab", "../proc/self/mounts")]
        {
            self.link(path, target)?;
        }
        for entry in ETC {
            self.copy_all(entry)?;
        }
        for (from, to) in MADE_FROM {
            if let Ok(text) = fs::read(self.host.join(from)) {
                self.file(to, 0o644, &text)?;
            }
        }
        self.users()?;
        self.file("etc/hosts", 0o644, b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")?;
        self.file("etc/fstab", 0o644, b"# Mounts of a zone are configured on its host.\n")?;
        // systemd's sign that there is none yet.
        self.file("etc/machine-id", 0o444, b"uninitialized\n")?;
        self.file("etc/motd", 0o644, b"")
    }

    /// Debian's base users, or root and nobody.
    fn users(&mut self) -> Result<(), ImageError> {
        let master = |name: &str, least: &str| {
            fs::read_to_string(self.host.join("usr/share/base-passwd").join(name)).unwrap_or(least.to_owned())
        };
        let users = master(
            "passwd.master",
            "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/:/bin/false\n",
        );
        let groups = master("group.master", "root:*:0:\nnogroup:*:65534:\n");
        let shadowed =
            |text: &str| text.lines().map(|l| l.replacen(":*:", ":x:", 1) + "\n").collect::<String>();
        let names = |text: &str| {
            text.lines().filter_map(|l| Some(l.split_once(':')?.0.to_owned())).collect::<Vec<_>>()
        };
        let shadow: String = names(&users).iter().map(|name| format!("{name}:*:::::::\n")).collect();
        let gshadow: String = names(&groups).iter().map(|name| format!("{name}:*::\n")).collect();
        self.file("etc/passwd", 0o644, shadowed(&users).as_bytes())?;
        self.file("etc/group", 0o644, shadowed(&groups).as_bytes())?;
        self.file("etc/shadow", 0o600, shadow.as_bytes())?;
        self.file("etc/gshadow", 0o600, gshadow.as_bytes())
    }

    /// An entry of the list.
    fn copy_all(&mut self, entry: &str) -> Result<(), ImageError> {
        let Some(prefix) = entry.strip_suffix('*') else {
            let path = Path::new("etc").join(entry);
            if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("etc"))
                && self.host.join(&path).exists()
            {
                self.folder(folder, 0o755)?;
            }
            return self.copy(&path);
        };
        for name in names(&self.host.join("etc"))? {
            if name.to_string_lossy().starts_with(prefix) {
                self.copy(&Path::new("etc").join(name))?;
            }
        }
        Ok(())
    }

    /// Copies what everybody may read: files, links, folders with what is in them.
    fn copy(&mut self, path: &Path) -> Result<(), ImageError> {
        let from = self.host.join(path);
        let meta = match from.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            meta => meta.doing("look at", &from)?,
        };
        if meta.is_symlink() {
            let target = from.read_link().doing("read", &from)?;
            return self.link(path, target);
        }
        if !is_public(&meta) {
            return Ok(());
        }
        if meta.is_dir() {
            self.folder(path, meta.mode() & 0o755)?;
            for name in names(&from)? {
                self.copy(&path.join(name))?;
            }
        } else if meta.is_file() && meta.len() <= LARGEST {
            let text = fs::read(&from).doing("read", &from)?;
            self.file(path, meta.mode() & 0o755, &text)?;
        }
        Ok(())
    }

    fn folder(&mut self, path: impl AsRef<Path>, mode: u32) -> Result<(), ImageError> {
        let mut header = header(EntryType::Directory, mode, 0);
        self.archive.append_data(&mut header, &path, io::empty()).doing("pack", path.as_ref())
    }

    fn file(&mut self, path: impl AsRef<Path>, mode: u32, text: &[u8]) -> Result<(), ImageError> {
        let mut header = header(EntryType::Regular, mode, text.len() as u64);
        self.archive.append_data(&mut header, &path, text).doing("pack", path.as_ref())
    }

    fn link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<(), ImageError> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        let target = target.as_ref();
        let literal = header.set_link_name_literal(target.as_os_str().as_bytes());
        let packed = match literal {
            Ok(()) => self.archive.append_data(&mut header, &path, io::empty()),
            // Too long for the field; this form tidies the target up, which changes nothing in where it leads.
            Err(_) => self.archive.append_link(&mut header, &path, target),
        };
        packed.doing("pack", path.as_ref())
    }
}

/// Root's, and nobody needs a right to read it.
fn is_public(meta: &Metadata) -> bool {
    let needed = if meta.is_dir() { 0o555 } else { 0o444 };
    meta.uid() == 0 && meta.mode() & needed == needed
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn names(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let entries = fs::read_dir(folder).doing("list", folder)?;
    let mut names = entries
        .map(|entry| entry.map(|entry| PathBuf::from(entry.file_name())))
        .collect::<io::Result<Vec<_>>>()
        .doing("list", folder)?;
    names.sort();
    Ok(names)
}
