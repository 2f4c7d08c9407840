//! `zoned.yaml`: what zoned is told there instead of on its command line.
//!
//! A key is the name of an option and its value what would stand behind it. Each value is given to the option as an argument, so
//! that the same parsers judge both. Whoever may write the file is as good as root on the host: it is read only if that is
//! root alone.

use std::{
    any::TypeId,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue},
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// The option that says where the file is.
const WHERE: &str = "config_dir";

/// Why the file cannot be gone by.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is there, and does not let itself be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file, or its folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("{path}: is no plain file")]
    NotPlain {
        /// The file.
        path: PathBuf,
    },
    /// Others than root could change it.
    #[error(
        "{path}: others than root may write it (owner {uid}, mode {mode:04o}), and who says what zoned does is root on this host; \
         look at what it says, then `chown root {path} && chmod go-w {path}`"
    )]
    Writable {
        /// The file, or its folder.
        path: PathBuf,
        /// User id of its owner.
        uid: u32,
        /// Its permissions.
        mode: u32,
    },
    /// What it says is wrong.
    #[error("{path}: {place}{why}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// `line 3, column 7: `; empty if that is not known.
        place: String,
        /// What is wrong, and what is accepted.
        why: String,
    },
}

/// What a key comes to.
#[derive(Debug)]
pub(super) struct Told {
    /// As it is written.
    pub(super) key: String,
    /// Id of the option.
    pub(super) option: String,
    /// The option with its value, or with each of them.
    pub(super) arguments: Vec<OsString>,
}

/// Reads the file, whose options are those of the command. Nothing if it is not there.
pub(super) fn read(path: &Path, command: &Command) -> Result<Vec<Told>, FileError> {
    let cannot = |path: &Path| {
        let path = path.to_owned();
        |source| FileError::Read { path, source }
    };
    // A pipe in its place would keep zoned waiting for somebody to write.
    let mut file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        // A link to nowhere is there, and meant to say something.
        Err(e) if e.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            return Ok(Vec::new());
        }
        opened => opened.map_err(cannot(path))?,
    };
    let found = file.metadata().map_err(cannot(path))?;
    if !found.is_file() {
        return Err(FileError::NotPlain { path: path.to_owned() });
    }
    roots_alone(path, found.uid(), found.mode())?;
    if let Some(folder) = path.parent() {
        // Who may write there can put another file in its place.
        let found = fs::metadata(folder).map_err(cannot(folder))?;
        roots_alone(folder, found.uid(), found.mode())?;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(cannot(path))?;
    parse(&text, command).map_err(|e| wrong(path, &e))
}

fn roots_alone(path: &Path, uid: u32, mode: u32) -> Result<(), FileError> {
    if uid == 0 && mode & 0o022 == 0 {
        return Ok(());
    }
    Err(FileError::Writable { path: path.to_owned(), uid, mode: mode & 0o7777 })
}

fn wrong(path: &Path, error: &serde_yaml::Error) -> FileError {
    let text = error.to_string();
    let (place, why) = match error.location() {
        None => (String::new(), text),
        Some(at) => {
            let (line, column) = (at.line(), at.column());
            let why = text.replacen(&format!(" at line {line} column {column}"), "", 1);
            (format!("line {line}, column {column}: "), why)
        }
    };
    FileError::Wrong { path: path.to_owned(), place, why }
}

fn parse(text: &str, command: &Command) -> Result<Vec<Told>, serde_yaml::Error> {
    let says_something = |line: &str| !(line.is_empty() || line.starts_with('#') || line == "---");
    if !text.lines().map(str::trim).any(says_something) {
        return Ok(Vec::new());
    }
    serde_yaml::Deserializer::from_str(text).deserialize_any(Keys(command))
}

/// The whole file.
struct Keys<'c>(&'c Command);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Vec<Told>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with their values, like `zones-shares: 200`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Told>, A::Error> {
        let mut all: Vec<Told> = Vec::new();
        while let Some(arg) = map.next_key_seed(Key { command: self.0, before: &all })? {
            let arguments = map.next_value_seed(Given { command: self.0, arg, listed: false })?;
            all.push(Told { key: key(arg), option: arg.get_id().to_string(), arguments });
        }
        Ok(all)
    }
}

/// Name of an option, as it is written in the file.
fn key(arg: &Arg) -> String {
    arg.get_id().as_str().replace('_', "-")
}

/// What can be told in the file.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let takes_value = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    command.get_arguments().filter(takes_value).filter(|arg| arg.get_id() != WHERE)
}

/// A key, after others.
struct Key<'c, 't> {
    command: &'c Command,
    before: &'t [Told],
}

impl<'de, 'c> DeserializeSeed<'de> for Key<'c, '_> {
    type Value = &'c Arg;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'c Arg, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'c> Visitor<'_> for Key<'c, '_> {
    type Value = &'c Arg;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<&'c Arg, E> {
        if self.before.iter().any(|told| told.key == name) {
            return Err(E::custom(format_args!("the key `{name}` stands there twice")));
        }
        options(self.command).find(|arg| key(arg) == name).ok_or_else(|| {
            if name == WHERE.replace('_', "-") {
                return E::custom(format_args!(
                    "`{name}` is said on the command line alone: this file is in that folder"
                ));
            }
            let keys = options(self.command).map(key).collect::<Vec<_>>().join(", ");
            E::custom(format_args!("there is no key `{name}`; there are {keys}"))
        })
    }
}

/// The value of a key, or one of its list.
#[derive(Clone, Copy)]
struct Given<'c> {
    command: &'c Command,
    arg: &'c Arg,
    listed: bool,
}

impl Given<'_> {
    fn may_be_list(&self) -> bool {
        !self.listed && matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// The argument that says so, if the option takes it.
    fn argument<E: Error>(&self, value: &str) -> Result<Vec<OsString>, E> {
        let refused = |why: &str| E::custom(format_args!("{value:?} is not accepted: {why}"));
        // On a command line a path begins where whoever writes it stands.
        let is_path = self.arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        if is_path && Path::new(value).is_relative() {
            return Err(refused("must be an absolute path"));
        }
        let argument = format!("--{}={value}", self.arg.get_long().unwrap_or_default());
        match self.command.clone().try_get_matches_from(["zoned", &argument]) {
            Ok(_) => Ok(vec![argument.into()]),
            Err(e) => Err(refused(&reason(&e))),
        }
    }
}

/// Why an option does not take a value, without the words of a command line.
fn reason(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(accepted)) = error.get(ContextKind::ValidValue)
        && !accepted.is_empty()
    {
        return format!("write one of {}", accepted.join(", "));
    }
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.unwrap_or_else(|| error.kind().to_string())
}

impl<'de> DeserializeSeed<'de> for Given<'_> {
    type Value = Vec<OsString>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<OsString>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Given<'_> {
    type Value = Vec<OsString>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.arg.get_value_names().unwrap_or_default();
        let name = names.first().map_or("VALUE", |name| name.as_str());
        let list = if self.may_be_list() { ", or a list of such" } else { "" };
        write!(f, "{name}, one text or number{list}")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<OsString>, E> {
        Err(E::invalid_type(Unexpected::Other("nothing"), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<OsString>, E> {
        self.argument(text)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<OsString>, E> {
        self.argument(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<OsString>, E> {
        self.argument(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Vec<OsString>, E> {
        // 100.0 is no whole number.
        self.argument(&format!("{number:?}"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<OsString>, A::Error> {
        if !self.may_be_list() {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(Self { listed: true, ..self })? {
            all.extend(one);
        }
        if all.is_empty() && !self.arg.get_default_values().is_empty() {
            let usual = self.arg.get_default_values().join(std::ffi::OsStr::new(","));
            let usual = usual.to_string_lossy();
            return Err(A::Error::custom(format_args!(
                "the list is empty; take the key away for the usual, {usual}"
            )));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::options::Options;

    fn told(text: &str) -> Result<Vec<String>, String> {
        let told = parse(text, &Options::command()).map_err(|e| wrong(Path::new("/f"), &e).to_string())?;
        Ok(told.into_iter().flat_map(|told| told.arguments).map(|a| a.into_string().unwrap()).collect())
    }

    #[test]
    fn keys_become_arguments() {
        let text = "# of this site\ncpu-backend: [fss, shares]\nuplinks: wan0\nzones-shares: 200\nnetwork: 10.9.0.0/16\n";
        let arguments = [
            "--cpu-backend=fss",
            "--cpu-backend=shares",
            "--uplink=wan0",
            "--zones-shares=200",
            "--network=10.9.0.0/16",
        ];
        assert_eq!(told(text).unwrap(), arguments);
        for nothing in ["", "# nothing\n", "---\n", "{}", "uplinks: []"] {
            assert_eq!(told(nothing).unwrap(), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn every_option_but_one_can_be_told_and_is_documented() {
        let command = Options::command();
        let keys: Vec<_> = options(&command).map(key).collect();
        assert!(!keys.contains(&"config-dir".to_owned()) && keys.len() >= 13, "{keys:?}");
        let options = command.get_arguments().count();
        assert_eq!(keys.len(), options - 1, "a new option is told in the file too");
        let documentation = include_str!("../../../docs/daemon.md");
        let missing = keys.iter().find(|key| !documentation.contains(&format!("`{key}`")));
        assert_eq!(missing, None, "docs/daemon.md says what each key is");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, says) in [
            (
                "cpu-backends: [fss]",
                "/f: line 1, column 1: there is no key `cpu-backends`; there are state-dir, ",
            ),
            ("log: info\nlog: debug", "/f: line 2, column 1: the key `log` stands there twice"),
            ("config-dir: /x", "`config-dir` is said on the command line alone"),
            (
                "log: info\ncpu-backend: [fss, cfs]",
                "/f: line 2, column 20: cpu-backend[1]: \"cfs\" is not accepted: write one of fss, deficit, shares",
            ),
            ("cpu-backend: []", "the list is empty; take the key away for the usual, fss,deficit,shares"),
            (
                "zones-shares: 0",
                "line 1, column 15: zones-shares: \"0\" is not accepted: write a whole number from 1 to 10000",
            ),
            ("zones-shares: 100.0", "write a whole number"),
            (
                "zones-shares: [1]",
                "zones-shares: invalid type: sequence, expected SHARES, one text or number",
            ),
            ("bridge: true", "bridge: invalid type: boolean `true`, expected NAME, one text or number"),
            (
                "uplinks: { eth0: }",
                "uplinks: invalid type: map, expected NAME, one text or number, or a list of such",
            ),
            ("uplinks: [[eth0]]", "invalid type: sequence"),
            ("bridge:", "bridge: invalid type: nothing, expected NAME, one text or number"),
            ("bridge: a/b", "\"a/b\" is not accepted: an interface's name has"),
            ("network: 10.77.0.9/16", "\"10.77.0.9/16\" is not accepted: it begins at 10.77.0.0/16"),
            ("state-dir: lib", "state-dir: \"lib\" is not accepted: must be an absolute path"),
            ("socket: zoned.sock", "must be an absolute path"),
            ("cgroup-name: a/b", "the name of a group has no slash"),
            ("log: zoned=loud", "write levels like info"),
            ("- log", "/f: line 1, column 1: invalid type: sequence, expected keys with their values"),
            ("log", "expected keys with their values"),
            ("7: 8", "line 1"),
            ("log: a: b", "/f: line 1, column 7: mapping values are not allowed"),
            ("log: a\n---\nlog: b", "more than one document"),
        ] {
            let said = told(text).unwrap_err();
            assert!(said.contains(says), "{text:?}: {said}");
        }
    }

    #[test]
    fn who_else_may_write_it_is_root() {
        let judged = |uid, mode| roots_alone(Path::new("/f"), uid, mode).map_err(|e| e.to_string());
        assert!(judged(0, 0o100_644).is_ok() && judged(0, 0o100_600).is_ok());
        let said = judged(0, 0o100_664).unwrap_err();
        assert!(said.contains("/f: others than root may write it (owner 0, mode 0664)"), "{said}");
        assert!(judged(0, 0o100_646).is_err() && judged(1000, 0o100_644).is_err());
    }
}
