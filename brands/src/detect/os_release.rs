//! os-release(5): what a root says of itself.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::RootFs;
use crate::text::escape;

/// Most of the file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Fields of os-release(5), escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OsRelease {
    /// `ID`, like `debian`; `linux` if the file has none.
    pub id: String,
    /// `ID_LIKE`, nearest first.
    pub like: Vec<String>,
    /// `VERSION_ID`, like `12`.
    pub version: Option<String>,
    /// `PRETTY_NAME`, like `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: Option<String>,
}

/// The root's os-release, from the first place that has one.
pub(super) fn read(root: &impl RootFs) -> Option<OsRelease> {
    ["/etc/os-release", "/usr/lib/os-release"].into_iter().find_map(|path| {
        let file = root.open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(parse(&String::from_utf8_lossy(&bytes)))
    })
}

fn parse(text: &str) -> OsRelease {
    let mut os = OsRelease { id: "linux".into(), ..OsRelease::default() };
    for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
        let value = unquote(value);
        match key {
            "ID" => os.id = escape(&value),
            "ID_LIKE" => os.like = value.split_whitespace().take(16).map(escape).collect(),
            "VERSION_ID" => os.version = Some(escape(&value)),
            "PRETTY_NAME" => os.pretty_name = Some(escape(&value)),
            _ => {}
        }
    }
    os
}

/// A value without its shell quotes: single ones keep everything, double ones take backslashes.
fn unquote(value: &str) -> String {
    let value = value.trim();
    if let Some(inner) = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_tricks() {
        let os = parse(
            "# x\nID=debian\nID_LIKE=\"a b\"\nVERSION_ID='12'\nPRETTY_NAME=\"A \\\"B\\\" \x1b[31m\"\n=x\n\"",
        );
        assert_eq!((os.id.as_str(), os.version.as_deref()), ("debian", Some("12")));
        assert_eq!(os.like, ["a", "b"]);
        assert_eq!(os.pretty_name.as_deref(), Some("A \"B\" \\u{1b}[31m"));
        assert_eq!(parse("").id, "linux");
        assert_eq!(unquote("\""), "\"");
        assert_eq!(unquote("'"), "'");
        assert_eq!(unquote("a\\"), "a");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}=\\PC{0,60}") {
            parse(&text);
        }
    }
}
