//! Single keys of a configuration text.

use std::collections::BTreeMap;

use super::{ZoneConfig, parse::bounded_depth, wording};
use crate::error::ApiError;

impl ZoneConfig {
    /// Changes single keys of a configuration text: dotted path (`process.init`, `fs.0.target`) to YAML value;
    /// an empty value takes the key away. Returns the new text, parsed and checked.
    pub fn set(yaml: &str, values: &BTreeMap<String, String>) -> Result<String, ApiError> {
        let broken = |e: serde_yaml::Error| ApiError::failed(format!("configuration: {e}"), None);
        let before: serde_yaml::Value = serde_yaml::from_str(yaml).map_err(broken)?;
        let mut tree = before.clone();
        for (path, text) in values {
            put(&mut tree, path, value(path, text)?)?;
        }
        let text = serde_yaml::to_string(&tree).map_err(broken)?;
        match Self::parse(&text) {
            Ok(_) => Ok(text),
            Err(e) => Err(values.iter().find_map(|(path, text)| of_no_use(&before, path, text)).unwrap_or(e)),
        }
    }
}

/// What a text given for a key stands for; nothing if the key is to go.
fn value(path: &str, text: &str) -> Result<Option<serde_yaml::Value>, ApiError> {
    bounded_depth(text)?;
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = serde_yaml::from_str(text).map(Some);
    parsed.map_err(|e| ApiError::invalid(format!("{path}: the value {text:?} is no YAML: {e}"), None))
}

/// Why a configuration that is right is none any more with one change alone.
fn of_no_use(before: &serde_yaml::Value, path: &str, text: &str) -> Option<ApiError> {
    let parse = |tree: &serde_yaml::Value| {
        serde_yaml::from_str::<ZoneConfig>(&serde_yaml::to_string(tree).ok()?).err()
    };
    let mut tree = before.clone();
    put(&mut tree, path, value(path, text).ok()?).ok()?;
    match (parse(before), parse(&tree)) {
        (None, Some(e)) => Some(ApiError::Invalid(wording::fault_of(&e, path, text))),
        _ => None,
    }
}

/// Puts a value at a dotted path, or takes away what is there.
fn put(tree: &mut serde_yaml::Value, path: &str, value: Option<serde_yaml::Value>) -> Result<(), ApiError> {
    use serde_yaml::Value;
    let wrong = |why: &str| {
        ApiError::invalid(
            format!("{path}: {why}"),
            Some("write paths like process.init or fs.0.target".into()),
        )
    };
    let mut node = tree;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(wrong("a part of the path is empty"));
        }
        let last = parts.peek().is_none();
        if let Value::Sequence(list) = node {
            let at: usize = part.parse().map_err(|_| wrong("a list is indexed by number"))?;
            if last && value.is_none() && at < list.len() {
                list.remove(at);
                return Ok(());
            }
            if at == list.len() && value.is_some() {
                list.push(Value::Null);
            }
            node = list.get_mut(at).ok_or_else(|| wrong("the list is not that long"))?;
        } else {
            if node.is_null() {
                *node = Value::Mapping(Default::default());
            }
            let map =
                node.as_mapping_mut().ok_or_else(|| wrong("a part of the path has no keys below it"))?;
            let key = Value::String(part.to_owned());
            if value.is_none() && (last || !map.contains_key(&key)) {
                map.remove(&key);
                return Ok(());
            }
            node = map.entry(key).or_insert(Value::Null);
        }
    }
    if let Some(value) = value {
        *node = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_changes_one_key_and_keeps_the_rest() {
        let set = |path: &str, value: &str| {
            ZoneConfig::set("zone: a\norder: 3\n", &[(path.into(), value.into())].into())
        };
        let c = ZoneConfig::parse(&set("process.init", "none").unwrap()).unwrap();
        assert_eq!((c.process.init.as_deref(), c.order), (Some("none"), 3));
        assert_eq!(ZoneConfig::parse(&set("order", "").unwrap()).unwrap().order, 0);
        assert!(set("order.x", "1").is_err() && set("order", "many").is_err() && set("zone", "").is_err());
        assert!(set("fs.0", "{ source: /a, target: /b }").is_err(), "fs is no list yet");
        assert!(set("fs", "[{ source: /a, target: /b }]").is_ok());
    }

    #[test]
    fn the_key_that_is_of_no_use_is_named_as_it_was_given() {
        let long = "zone: a\n# what nobody sees\ncpu: { shares: 3 }\nfs: [{ source: /a, target: /b }]";
        for (path, value, says) in [
            (
                "memory.swap",
                "-1",
                "memory.swap=-1: \"-1\" is no size; write bytes, or K, M, G or T like 512M",
            ),
            ("memory.limit", "99999999T", "memory.limit=99999999T: 99999999T is more than can be counted"),
            ("memory.limit", "none", "memory.limit=none: \"none\" is no size"),
            ("cpu.shares", "many", "cpu.shares=many: `cpu.shares` takes a whole number"),
            ("cpu.cpus", "9-0", "cpu.cpus=9-0: \"9-0\" is no list of CPUs"),
            ("autoboot", "7", "autoboot=7: `autoboot` takes true or false, not 7"),
            ("cpu.share", "1", "cpu.share=1: unknown field `share`, expected "),
            ("fs.0.target", "[]", "fs.0.target=[]: `fs[0].target` takes "),
        ] {
            let values = [("order".into(), "3".into()), (path.into(), value.into())].into();
            let Err(ApiError::Invalid(fault)) = ZoneConfig::set(long, &values) else {
                panic!("{path}={value}")
            };
            assert!(fault.message.starts_with(says), "{}", fault.message);
        }
    }
}
