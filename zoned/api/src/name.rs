//! Names of zones.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest name of a zone, in bytes (zonecfg(8) has the same limit).
pub const MAX_LEN: usize = 63;

/// Name of a zone: 1 to 63 of `a-z A-Z 0-9 _ - .`, beginning with a letter or digit.
///
/// `global` is the host and names beginning with `SYS` are reserved, as in zonecfg(8). A name never
/// becomes part of a path: folders are named by the zone's UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

/// Why a text is no zone name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// Nothing was given.
    #[error("a zone name is empty; use 1 to 63 of a-z A-Z 0-9 _ - .")]
    Empty,
    /// Over [`MAX_LEN`] bytes.
    #[error("a zone name of {0} bytes is too long; 63 is the limit")]
    TooLong(usize),
    /// First character is not a letter or digit.
    #[error("a zone name begins with a letter or digit, not {0:?}")]
    BadStart(char),
    /// A character outside the set.
    #[error("a zone name cannot contain {0:?}; use a-z A-Z 0-9 _ - .")]
    BadCharacter(char),
    /// `global` or `SYS…`.
    #[error("the zone name {0:?} is reserved; choose another")]
    Reserved(String),
}

impl ZoneName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ZoneName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_LEN {
            return Err(NameError::TooLong(text.len()));
        }
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::BadStart(first));
        }
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "_-.".contains(*c))) {
            return Err(NameError::BadCharacter(bad));
        }
        if text == "global" || text.starts_with("SYS") {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ZoneName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ZoneName> for String {
    fn from(name: ZoneName) -> Self {
        name.0
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl JsonSchema for ZoneName {
    fn schema_name() -> Cow<'static, str> {
        "ZoneName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
            "description": "1 to 63 of a-z A-Z 0-9 _ - . beginning with a letter or digit; not global, not SYS…"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_zonecfg_accepts() {
        for ok in ["a", "web", "Web-1.example_x", "0", &"x".repeat(63)] {
            assert!(ok.parse::<ZoneName>().is_ok(), "{ok}");
        }
    }

    #[test]
    fn refuses_each_bad_name_for_its_reason() {
        assert_eq!("".parse::<ZoneName>(), Err(NameError::Empty));
        assert_eq!("x".repeat(4000).parse::<ZoneName>(), Err(NameError::TooLong(4000)));
        assert_eq!("..".parse::<ZoneName>(), Err(NameError::BadStart('.')));
        assert_eq!("a/b".parse::<ZoneName>(), Err(NameError::BadCharacter('/')));
        assert_eq!("a\x1b[31m".parse::<ZoneName>(), Err(NameError::BadCharacter('\x1b')));
        assert_eq!("global".parse::<ZoneName>(), Err(NameError::Reserved("global".into())));
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_one_path_component(text in ".*") {
            if let Ok(name) = text.parse::<ZoneName>() {
                proptest::prop_assert!(!name.as_str().contains('/') && name.as_str() != "." && name.as_str() != "..");
            }
        }
    }
}
