//! From what came over the socket to a [`Method`], with varlink's own errors where it is none.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zoned_api::{ApiError, INTERFACE, Method};

/// A call whose method may be unknown and whose parameters may be anything.
#[derive(Debug, Deserialize)]
pub(super) struct RawCall {
    method: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

impl RawCall {
    /// The method, if there is such a one and its parameters are what it takes.
    pub(super) fn method(&self) -> Result<Method, ApiError> {
        let call = json!({ "method": self.method, "parameters": self.parameters });
        let method: Method = serde_json::from_value(call).map_err(|e| {
            let text = e.to_string();
            if text.starts_with(&format!("unknown variant `{}`", self.method)) {
                not_found(&self.method)
            } else {
                ApiError::InvalidParameter { parameter: text }
            }
        })?;
        match unknown(&self.parameters, &method) {
            Some(name) => Err(ApiError::InvalidParameter {
                parameter: format!("{name}: {} has no such one", self.method),
            }),
            None => Ok(method),
        }
    }
}

/// Of a method there is none of: its interface may be another one, which is told apart.
fn not_found(method: &str) -> ApiError {
    let ours = |method: &str| {
        [INTERFACE, "org.varlink.service"]
            .iter()
            .any(|ours| method.strip_prefix(ours).is_some_and(|rest| rest.starts_with('.')))
    };
    match method.rsplit_once('.') {
        Some((interface, _)) if !ours(method) => {
            ApiError::InterfaceNotFound { interface: interface.to_owned() }
        }
        _ => ApiError::MethodNotFound { method: method.to_owned() },
    }
}

/// The first parameter that was given and means nothing. One that is null may as well be missing.
fn unknown(given: &Map<String, Value>, method: &impl Serialize) -> Option<String> {
    let taken = serde_json::to_value(method).ok()?;
    let taken = taken.get("parameters").and_then(Value::as_object);
    let is_taken = |name: &String| taken.is_some_and(|taken| taken.contains_key(name));
    given.iter().find(|(name, value)| !value.is_null() && !is_taken(name)).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(text: &str) -> Result<Method, ApiError> {
        serde_json::from_str::<RawCall>(text).unwrap().method()
    }

    #[test]
    fn a_call_is_a_method_or_the_right_error() {
        assert_eq!(method(r#"{"method":"io.zoned.Manager.List"}"#), Ok(Method::List {}));
        assert!(method(r#"{"method":"io.zoned.Manager.Info","parameters":{"zone":"a"}}"#).is_ok());
        assert!(
            method(r#"{"method":"io.zoned.Manager.Stat","parameters":{"zone":null,"more":null}}"#).is_ok()
        );
        let not_found = ApiError::MethodNotFound { method: "io.zoned.Manager.Nope".into() };
        assert_eq!(method(r#"{"method":"io.zoned.Manager.Nope"}"#), Err(not_found));
        let other = ApiError::InterfaceNotFound { interface: "io.other".into() };
        assert_eq!(method(r#"{"method":"io.other.List"}"#), Err(other));
        for (call, word) in [
            (r#"{"method":"io.zoned.Manager.Info"}"#, "zone"),
            (r#"{"method":"io.zoned.Manager.Info","parameters":{"zone":7}}"#, "string"),
            (r#"{"method":"io.zoned.Manager.Info","parameters":{"zone":"a","zoon":"b"}}"#, "zoon"),
            (r#"{"method":"io.zoned.Manager.Do","parameters":{"zone":"a","verb":"burn"}}"#, "burn"),
        ] {
            match method(call) {
                Err(ApiError::InvalidParameter { parameter }) => {
                    assert!(parameter.contains(word), "{parameter}")
                }
                other => panic!("{call}: {other:?}"),
            }
        }
    }
}
