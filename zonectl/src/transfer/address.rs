//! `ZONE:PATH` and plain paths, told apart.

use std::{
    ffi::OsStr,
    path::{Component, Path},
    str::FromStr,
};

use zoned_api::ZoneName;

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Where.
    pub(crate) side: Side,
    /// Path there; absolute in a zone.
    pub(crate) path: String,
    /// As it was written.
    written: String,
}

/// Folders of a zone whose contents the kernel makes up, and what lies in one of them and is a folder like others.
const MADE_UP: [&str; 3] = ["/proc", "/sys", "/dev"];
const NOT_MADE_UP: [&str; 1] = ["/dev/shm"];

/// Host or zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The host the caller is on.
    Host,
    /// A zone, by name or UUID.
    Zone(String),
}

impl FromStr for Address {
    type Err = String;

    /// What has a colon before any slash is in a zone, as with scp(1); write `./a:b` for such a file.
    fn from_str(text: &str) -> Result<Self, String> {
        let (zone, path) = match text.split_once(':') {
            Some((zone, path)) if !zone.contains('/') => (zone, path),
            _ if text.is_empty() => return Err("an empty path names nothing".to_owned()),
            _ if text == "-" => {
                return Err("a stream cannot be copied; use `zonectl exec ZONE -- tar`".to_owned());
            }
            _ => return Ok(Self { side: Side::Host, path: text.to_owned(), written: text.to_owned() }),
        };
        let name = zone.parse::<ZoneName>().map_err(|e| format!("{e} (a file is written ./{text})"))?;
        if path.contains('\0') {
            return Err("a path cannot contain NUL".to_owned());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { side: Side::Zone(name.into()), path, written: text.to_owned() })
    }
}

impl Address {
    /// Last name of the path; none for `/` and what ends in `..`.
    pub(crate) fn name(&self) -> Option<&OsStr> {
        Path::new(&self.path).file_name()
    }

    /// The folder it lies in, if what is there is made up by the kernel. Judged by the words alone: a link in the
    /// zone may lead there, too.
    pub(crate) fn made_by_the_kernel(&self) -> Option<&'static str> {
        let mut names = Vec::new();
        for part in Path::new(&self.path).components() {
            match part {
                Component::Normal(name) => names.push(name),
                Component::ParentDir => drop(names.pop()),
                _ => {}
            }
        }
        let path = Path::new("/").join(names.iter().collect::<std::path::PathBuf>());
        let within =
            |folders: &[&'static str]| folders.iter().copied().find(|folder| path.starts_with(folder));
        within(&MADE_UP).filter(|_| within(&NOT_MADE_UP).is_none())
    }

    /// Whether a file of the caller's has the name that was taken for a zone's.
    pub(crate) fn is_there(&self) -> bool {
        Path::new(&self.written).symlink_metadata().is_ok()
    }

    /// How to write it if a file was meant.
    pub(crate) fn as_a_file(&self) -> String {
        format!("a file here is written `./{}`", self.written)
    }

    /// Whether it can only mean a folder.
    pub(crate) fn says_folder(&self) -> bool {
        self.path.ends_with('/') || self.path.ends_with("/.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<(Option<String>, String), String> {
        let Address { side, path, .. } = text.parse()?;
        Ok((if let Side::Zone(zone) = side { Some(zone) } else { None }, path))
    }

    #[test]
    fn a_colon_before_any_slash_names_a_zone() {
        assert_eq!(address("web:/etc/hosts"), Ok((Some("web".into()), "/etc/hosts".into())));
        assert_eq!(address("web:srv"), Ok((Some("web".into()), "/srv".into())));
        assert_eq!(address("web:"), Ok((Some("web".into()), "/".into())));
        assert_eq!(address("./a:b"), Ok((None, "./a:b".into())));
        assert_eq!(address("/x/a:b"), Ok((None, "/x/a:b".into())));
        for bad in ["", "-", ":/x", "..:/x", "a\x1b:/x", "web:/a\0b"] {
            assert!(address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_kernel_makes_up_is_known_by_its_path() {
        let made = |text: &str| text.parse::<Address>().unwrap().made_by_the_kernel();
        assert_eq!(made("w:/proc/cpuinfo"), Some("/proc"));
        assert_eq!(made("w:/srv/.././sys//x"), Some("/sys"));
        assert_eq!(made("w:dev"), Some("/dev"));
        for kept in ["w:/dev/shm/x", "w:/processes", "w:/srv/proc", "w:/proc/../srv", "w:/"] {
            assert_eq!(made(kept), None, "{kept}");
        }
    }

    #[test]
    fn folders_say_so() {
        let folder = |text: &str| text.parse::<Address>().unwrap().says_folder();
        assert!(folder("web:/srv/") && folder("web:") && folder("./x/.") && !folder("x"));
    }
}
