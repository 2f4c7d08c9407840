//! What is wrong with a text, in YAML's terms and not in those of the parser's types.
//!
//! The accepted form of a key comes from the schema: what a key takes is said in one place.

use serde_json::Value;

use super::ZoneConfig;
use crate::error::Fault;

/// Most characters of a wrong value that are told.
const SHOWN: usize = 60;

/// How the parser names what it found, and what a reader calls it.
const FOUND: [(&str, &str); 3] = [("map", "a mapping"), ("sequence", "a list"), ("unit value", "nothing")];

/// What a configuration that is none is told.
const LEAST: &str = "the least is `zone: NAME`";

/// What the reader of a text is told of an error of the parser's.
pub(super) fn fault(error: &serde_yaml::Error, yaml: &str) -> Fault {
    let (place, message, hint) = words(error, yaml);
    let place = place.map(|(line, column)| format!("line {line}, column {column}: ")).unwrap_or_default();
    Fault { message: format!("configuration: {place}{message}"), hint: Some(hint) }
}

/// What whoever gave a key a value is told: the text that comes of it is not theirs.
pub(super) fn fault_of(error: &serde_yaml::Error, path: &str, value: &str) -> Fault {
    let (_, message, hint) = words(error, "zone: a");
    // The parser's own path may end above the key.
    let parent = |message: &str| {
        let (said, rest) = message.split_once(": ")?;
        path.starts_with(said).then(|| rest.to_owned())
    };
    let message = parent(&message).unwrap_or(message);
    Fault { message: format!("{path}={}: {message}", cut(value)), hint: Some(hint) }
}

/// Line and column, what is wrong, and what to do.
fn words(error: &serde_yaml::Error, yaml: &str) -> (Option<(usize, usize)>, String, String) {
    let text = error.to_string();
    let text = text.find(" at line ").map_or(text.as_str(), |at| &text[..at]);
    let mut place = error.location().map(|l| (l.line(), l.column()));
    let mut hint = "`zonectl schema` prints every key with its form".to_owned();
    let message = if is_empty(yaml) {
        place = None;
        format!("the text is empty; {LEAST}")
    } else if text.contains("more than one document") {
        "the text has more than one document; a configuration is one".to_owned()
    } else if let Some((path, found, _)) = split(text, &["invalid type: ", "invalid value: "], ", expected ")
    {
        told(path, &found_in_words(found)).unwrap_or_else(|| text.to_owned())
    } else if let Some((path, found, _)) = split(text, &["unknown variant "], ", expected ") {
        told(path, found).unwrap_or_else(|| text.to_owned())
    } else if let Some((path, key, _)) = split(text, &["duplicate field `"], "`") {
        place = place.map(|place| again(yaml, place, key));
        format!("{}duplicate key `{key}`; give it once", before(path))
    } else {
        if let Some((path, ..)) = split(text, &["missing field `"], "`")
            && let Some(form) = form_at(path)
            && !path.is_empty()
        {
            hint = format!("`{path}` takes {form}");
        }
        text.to_owned()
    };
    (place, message, hint)
}

/// Nothing but comments and the marks of a document.
fn is_empty(yaml: &str) -> bool {
    yaml.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// Takes `path: MARK found END rest` apart; the path is empty for the whole text.
fn split<'t>(text: &'t str, marks: &[&str], end: &str) -> Option<(&'t str, &'t str, &'t str)> {
    let (at, mark) = marks.iter().filter_map(|mark| Some((text.find(mark)?, mark))).min()?;
    let path = match &text[..at] {
        "" => "",
        path => path.strip_suffix(": ")?,
    };
    let (found, rest) = text[at + mark.len()..].rsplit_once(end)?;
    Some((path, found, rest))
}

fn before(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

fn told(path: &str, found: &str) -> Option<String> {
    if path.is_empty() {
        return Some(format!("a configuration is a mapping, not {found}; {LEAST}"));
    }
    Some(format!("`{path}` takes {}, not {found}", form_at(path)?))
}

/// The parser says string "x", integer `7`, map.
fn found_in_words(found: &str) -> String {
    if let Some((_, word)) = FOUND.iter().find(|(name, _)| *name == found) {
        return (*word).to_owned();
    }
    let value = match found.find(['"', '`']) {
        Some(at) => found[at..].trim_matches('`'),
        None => found,
    };
    cut(value)
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    }
}

/// Where a key of the block that begins at a place stands for the second time; the place itself where it is no block.
fn again(yaml: &str, (line, column): (usize, usize), key: &str) -> (usize, usize) {
    let indent = column.saturating_sub(1);
    let is_key = |text: &str| {
        let (space, rest) = text.split_at_checked(indent)?;
        // The first key of a list's element has the dash before it.
        let blank = space.chars().all(|c| c == ' ' || c == '-');
        let after = rest.strip_prefix(key)?;
        (blank && after.trim_start().starts_with(':')).then_some(())
    };
    let mut lines =
        yaml.lines().enumerate().skip(line.saturating_sub(1)).filter(|(_, text)| is_key(text).is_some());
    lines.nth(1).map_or((line, column), |(number, _)| (number + 1, column))
}

/// What the key at a path takes, with an example, as the schema has it.
fn form_at(path: &str) -> Option<String> {
    let schema = serde_json::to_value(ZoneConfig::schema()).ok()?;
    let mut node = &schema;
    for part in path.split('.') {
        let mut names = part.split('[');
        let object = resolved(&schema, node);
        let key = names.next()?;
        node = object.get("properties").and_then(|p| p.get(key)).or(object.get("additionalProperties"))?;
        for _ in names {
            node = resolved(&schema, node).get("items")?;
        }
    }
    form(&schema, node)
}

/// The definition a node refers to, or the node; of alternatives the first.
fn resolved<'s>(schema: &'s Value, node: &'s Value) -> &'s Value {
    let node = node.get("anyOf").and_then(|all| all.get(0)).unwrap_or(node);
    let name = node.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    name.and_then(|name| schema.get("$defs")?.get(name)).unwrap_or(node)
}

fn form(schema: &Value, node: &Value) -> Option<String> {
    let meant = resolved(schema, node);
    if let Some(all) = meant.get("oneOf").and_then(Value::as_array) {
        let words: Vec<_> = all.iter().filter_map(|one| one.get("const")?.as_str()).collect();
        if !words.is_empty() {
            return Some(format!("one of {}", words.join(", ")));
        }
    }
    let kind = meant.get("type")?;
    let kind = kind.as_str().or_else(|| kind.get(0)?.as_str())?;
    let words = match kind {
        "boolean" => "true or false".to_owned(),
        "integer" => whole_number(meant),
        "number" => "a number".to_owned(),
        "string" => "a text".to_owned(),
        "array" => "a list".to_owned(),
        "object" => "a mapping".to_owned(),
        _ => return None,
    };
    let examples: Vec<_> = examples(schema, node).iter().map(flow).collect();
    if examples.is_empty() {
        return Some(words);
    }
    Some(format!("{words}, like {}", examples.join(" or ")))
}

fn whole_number(node: &Value) -> String {
    let most = match node.get("format").and_then(Value::as_str) {
        Some("uint16") => Some(u64::from(u16::MAX)),
        Some("uint32") => Some(u64::from(u32::MAX)),
        _ => None,
    };
    let most = node.get("maximum").and_then(Value::as_u64).or(most);
    match (node.get("minimum").and_then(Value::as_i64), most) {
        (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
        (Some(least), None) => format!("a whole number from {least} on"),
        _ => "a whole number".to_owned(),
    }
}

/// A node's examples, or those of what it refers to; a list's are made of its elements'.
fn examples(schema: &Value, node: &Value) -> Vec<Value> {
    let of = |node: &Value| node.get("examples").and_then(Value::as_array).cloned();
    let meant = resolved(schema, node);
    of(node).or_else(|| of(meant)).unwrap_or_else(|| {
        let items = meant.get("items").map(|items| examples(schema, items)).unwrap_or_default();
        items.into_iter().map(|item| Value::Array(vec![item])).collect()
    })
}

/// A value in YAML's short form.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(all) => format!("[{}]", all.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(all) => {
            // What is named comes before what is listed of it.
            let (lists, plain): (Vec<_>, Vec<_>) = all.iter().partition(|(_, value)| value.is_array());
            let pairs: Vec<_> = plain
                .into_iter()
                .chain(lists)
                .map(|(key, value)| format!("{key}: {}", flow(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::String(text) if text.starts_with(['!', '*', '&', '@', '%']) => format!("'{text}'"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;

    fn said(yaml: &str) -> Fault {
        match ZoneConfig::parse(yaml) {
            Err(ApiError::Invalid(fault)) => fault,
            other => panic!("{yaml:?}: {other:?}"),
        }
    }

    #[test]
    fn a_wrong_type_is_told_in_the_terms_of_the_text() {
        for (yaml, says) in [
            ("[]", "line 1, column 1: a configuration is a mapping, not a list; the least is `zone: NAME`"),
            (
                "zone: a\nroot: x",
                "line 2, column 7: `root` takes a mapping, like { sparse: true } or { image: debian:bookworm }, not \"x\"",
            ),
            ("zone: a\nautoboot: 7", "line 2, column 11: `autoboot` takes true or false, not 7"),
            ("zone: a\norder: -1", "`order` takes a whole number from 0 to 4294967295, not -1"),
            ("zone: a\norder: 1.5", "`order` takes a whole number from 0 to 4294967295, not 1.5"),
            ("zone: a\nafter: b", "`after` takes a list, like [db], not \"b\""),
            ("zone: { name: a }", "`zone` takes a text, not a mapping"),
            (
                "zone: a\nprocess: { env: [a] }",
                "`process.env` takes a mapping, like { LANG: C.UTF-8 }, not a list",
            ),
            ("zone: a\nlimitpriv: all", "`limitpriv` takes a list, like [default, '!net_raw'], not \"all\""),
            ("zone: a\ndevice: /dev/x", "`device` takes a list, like [{ match: /dev/fuse }], not \"/dev/x\""),
            (
                "zone: a\nfs: [{ source: /a, target: /b, options: [sync] }]",
                "`fs[0].options[0]` takes one of ro, rw, nosuid, nodev, noexec, not `sync`",
            ),
            (
                "zone: a\nfs: [{ source: /a, target: /b, options: [[]] }]",
                "`fs[0].options[0]` takes one of ro, rw, nosuid, nodev, noexec, not a list",
            ),
            ("zone: a\n---\nzone: b", "configuration: the text has more than one document"),
        ] {
            let message = said(yaml).message;
            assert!(message.contains(says), "{yaml:?}: {message}");
        }
    }

    #[test]
    fn no_key_of_the_schema_speaks_of_types() {
        let schema = serde_json::to_value(ZoneConfig::schema()).unwrap();
        for key in schema["properties"].as_object().unwrap().keys() {
            for wrong in ["[[[]]]", "{ a: { b: c } }", "x", "-1.5"] {
                let Err(ApiError::Invalid(fault)) = ZoneConfig::parse(&format!("zone: a\n{key}: {wrong}"))
                else {
                    continue;
                };
                for word in
                    ["invalid type", "struct", "u32", "u64", "variant", "sequence", "unit", "YAML tag"]
                {
                    assert!(!fault.message.contains(word), "{}", fault.message);
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_missing_is_shown_with_its_like() {
        let fault = said("zone: a\nfs: [{ source: /a }]");
        assert!(fault.message.contains("fs[0]: missing field `target`"), "{}", fault.message);
        let like = "`fs[0]` takes a mapping, like { source: /srv/www, target: /var/www, options: [ro] }";
        assert_eq!(fault.hint.unwrap(), like);
    }

    #[test]
    fn the_place_is_where_it_stands() {
        for yaml in ["", "\n\n", "# only a comment\n", "---\n"] {
            assert_eq!(said(yaml).message, "configuration: the text is empty; the least is `zone: NAME`");
        }
        for (yaml, says) in [
            ("# c\nzone: a\nbrand: native\nzone: b", "line 4, column 1: duplicate key `zone`"),
            (
                "zone: a\nroot:\n  sparse: true\n  sparse: false",
                "line 4, column 3: root: duplicate key `sparse`",
            ),
            ("zone: a\nfs:\n- source: /a\n  source: /b", "line 4, column 3: fs[0]: duplicate key `source`"),
            (
                "zone: a\nroot: { sparse: true, sparse: false }",
                "line 2, column 7: root: duplicate key `sparse`",
            ),
        ] {
            let message = said(yaml).message;
            assert!(message.contains(says), "{yaml:?}: {message}");
        }
    }

    #[test]
    fn a_long_value_is_cut() {
        let message = said(&format!("zone: a\nroot: {}", "ä".repeat(5000))).message;
        assert!(message.len() < 500 && message.contains('…'), "{}", message.len());
    }
}
