//! The profiles there are: those built in, and those an administrator keeps in a folder.
//!
//! Whoever may write that folder decides what every zone may do: it is as good as root on the host.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::profile::{
    Profile, check,
    source::{MAX_TEXT, Source},
};

const BUILT_IN: [(&str, &str); 2] = [
    ("native", include_str!("../profiles/native.yaml")),
    ("debian", include_str!("../profiles/debian.yaml")),
];

/// Longest line of ancestors.
const MAX_DEPTH: usize = 8;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file or folder cannot be read.
    #[error("brand profile {}: cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Over [`MAX_TEXT`] bytes.
    #[error("brand profile {}: is longer than {MAX_TEXT} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// Not the YAML of a profile. The source has line and column.
    #[error("brand profile {origin}: is not written as a profile is")]
    Syntax {
        /// File, or name of a built-in one.
        origin: String,
        /// What, where.
        #[source]
        source: serde_yaml::Error,
    },
    /// `name:` and the file's name differ.
    #[error("brand profile {}: says its name is {name:?}; file and name must agree", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// What it says.
        name: String,
    },
    /// A profile of that name is built in.
    #[error("brand profile {}: {name} is built in; inherit it under another name", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// No such profile.
    #[error("brand {name}: no such brand; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names there are.
        known: String,
    },
    /// It inherits what does not exist.
    #[error("brand {name}: inherits {parent}, which does not exist")]
    NoParent {
        /// The heir.
        name: String,
        /// What it names.
        parent: String,
    },
    /// It inherits itself, or from too many.
    #[error("brand {name}: its ancestors go in a circle, or are more than {MAX_DEPTH}")]
    Circle {
        /// The heir.
        name: String,
    },
    /// A key that neither it nor an ancestor has.
    #[error("brand {name}: neither it nor what it inherits has the key {key}")]
    Missing {
        /// The profile.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// A rule that cannot be carried out.
    #[error("brand {name}: {key}: {why}")]
    Rule {
        /// The profile.
        name: String,
        /// Where.
        key: String,
        /// What is wrong.
        why: String,
    },
}

/// The profiles there are.
#[derive(Clone, Debug, Default)]
pub struct Library {
    sources: BTreeMap<String, Source>,
}

impl Library {
    /// Those built in.
    pub fn built_in() -> Result<Library, ProfileError> {
        let mut library = Library::default();
        for (name, text) in BUILT_IN {
            library.sources.insert(name.to_owned(), parse(name, text)?);
        }
        Ok(library)
    }

    /// Adds the `*.yaml` of a folder, in order of name. A folder that does not exist adds none; a file that
    /// cannot be used is left out and told, without harm to the others.
    pub fn add_folder(&mut self, folder: &Path) -> Vec<ProfileError> {
        let read = |source| ProfileError::Read { path: folder.to_owned(), source };
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(e) => return vec![read(e)],
        };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        let mut added = Vec::new();
        let mut faults = Vec::new();
        for path in paths {
            match self.add_file(&path) {
                Ok(name) => added.push(name),
                Err(fault) => faults.push(fault),
            }
        }
        // Only with all of them read can an heir be told from an orphan.
        let broken: Vec<_> =
            added.into_iter().filter_map(|name| self.get(&name).err().map(|fault| (name, fault))).collect();
        for (name, fault) in broken {
            self.sources.remove(&name);
            faults.push(fault);
        }
        faults
    }

    fn add_file(&mut self, path: &Path) -> Result<String, ProfileError> {
        let text = read_bounded(path)?;
        let source = parse(&path.display().to_string(), &text)?;
        let (path, name) = (path.to_owned(), source.name.clone());
        if path.file_stem().is_none_or(|stem| stem != name.as_str()) {
            return Err(ProfileError::Misnamed { path, name });
        }
        if BUILT_IN.iter().any(|(taken, _)| *taken == name) {
            return Err(ProfileError::Taken { path, name });
        }
        self.sources.insert(name.clone(), source);
        Ok(name)
    }

    /// Names and their one line, in order of name.
    pub fn list(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.values().map(|source| (source.name.as_str(), source.about.as_str()))
    }

    /// A profile with everything it inherits, checked.
    pub fn get(&self, name: &str) -> Result<Profile, ProfileError> {
        let mut merged = self.sources.get(name).cloned().ok_or_else(|| ProfileError::Unknown {
            name: name.to_owned(),
            known: self.sources.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })?;
        let mut lineage: Vec<String> = Vec::new();
        let mut next = merged.inherits.clone();
        while let Some(parent) = next {
            let source = self
                .sources
                .get(&parent)
                .ok_or_else(|| ProfileError::NoParent { name: name.to_owned(), parent: parent.clone() })?;
            if lineage.len() == MAX_DEPTH || parent == name || lineage.contains(&parent) {
                return Err(ProfileError::Circle { name: name.to_owned() });
            }
            next = source.inherits.clone();
            merged = merged.over(source.clone());
            lineage.push(parent);
        }
        let profile =
            merged.finish(lineage).map_err(|key| ProfileError::Missing { name: name.to_owned(), key })?;
        check::check(&profile).map_err(|(key, why)| ProfileError::Rule {
            name: name.to_owned(),
            key,
            why,
        })?;
        Ok(profile)
    }
}

/// JSON Schema of a profile's YAML.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Source)
}

fn parse(origin: &str, text: &str) -> Result<Source, ProfileError> {
    Source::parse(text).map_err(|source| ProfileError::Syntax { origin: origin.to_owned(), source })
}

fn read_bounded(path: &Path) -> Result<String, ProfileError> {
    let read = |source| ProfileError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(read)?.take(MAX_TEXT as u64 + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() > MAX_TEXT {
        return Err(ProfileError::TooLong { path: path.to_owned() });
    }
    Ok(text)
}
