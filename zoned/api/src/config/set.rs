//! Single keys of a configuration text.

use std::collections::BTreeMap;

use super::{ZoneConfig, parse::bounded_depth};
use crate::error::ApiError;

impl ZoneConfig {
    /// Changes single keys of a configuration text: dotted path (`process.init`, `fs.0.target`) to YAML value;
    /// an empty value takes the key away. Returns the new text, parsed and checked.
    pub fn set(yaml: &str, values: &BTreeMap<String, String>) -> Result<String, ApiError> {
        let broken = |e: serde_yaml::Error| ApiError::failed(format!("configuration: {e}"), None);
        let mut tree: serde_yaml::Value = serde_yaml::from_str(yaml).map_err(broken)?;
        for (path, text) in values {
            bounded_depth(text)?;
            let value = if text.is_empty() {
                None
            } else {
                let parsed = serde_yaml::from_str(text);
                Some(parsed.map_err(|e| {
                    ApiError::invalid(format!("{path}: the value {text:?} is no YAML: {e}"), None)
                })?)
            };
            put(&mut tree, path, value)?;
        }
        let text = serde_yaml::to_string(&tree).map_err(broken)?;
        Self::parse(&text)?;
        Ok(text)
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
}
