//! The interface, as varlink's own `GetInterfaceDescription` gives it to `varlinkctl` and the like.

use zoned_api::{ApiError, INTERFACE};

/// The definition; a test holds it against the types.
const DESCRIPTION: &str = include_str!("../../api/io.zoned.Manager.varlink");

/// Varlink's own interface (varlink.org/Service).
const SERVICE: &str = "\
# Varlink's own.
interface org.varlink.service

method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
";

/// The definition of an interface.
pub(super) fn describe(interface: &str) -> Result<String, ApiError> {
    match interface {
        INTERFACE => Ok(DESCRIPTION.to_owned()),
        "org.varlink.service" => Ok(SERVICE.to_owned()),
        _ => Err(ApiError::InterfaceNotFound { interface: interface.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use zlink::idl::Interface;
    use zoned_api::Method;

    use super::*;
    use crate::server::call::RawCall;

    fn call(method: &str, parameters: &Map<String, Value>) -> Result<Method, ApiError> {
        let call = json!({ "method": format!("{INTERFACE}.{method}"), "parameters": parameters });
        serde_json::from_value::<RawCall>(call).unwrap().method()
    }

    /// A value of a parameter's type; the types are few enough to be told by their names.
    fn value(name: &str, kind: &str) -> Value {
        match (name, kind.trim_start_matches('?')) {
            ("verb", _) => json!("boot"),
            ("uuid", _) => json!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
            (_, "string") => json!("a"),
            (_, "int") => json!(1),
            (_, "bool") => json!(true),
            (_, "Command") => json!({ "command": ["true"] }),
            (_, "[string]string") => json!({}),
            other => panic!("{other:?}: teach the test"),
        }
    }

    /// Names of the enum's variants, in the words of serde's error.
    fn variants() -> Vec<String> {
        let error = serde_json::from_value::<Method>(json!({ "method": "?", "parameters": {} }))
            .unwrap_err()
            .to_string();
        let names = error.split('`').filter(|word| word.contains('.'));
        let prefix = format!("{INTERFACE}.");
        names.filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned)).collect()
    }

    #[test]
    fn the_description_is_of_the_methods_there_are() {
        let interface = Interface::try_from(DESCRIPTION).unwrap();
        assert_eq!(interface.name(), INTERFACE);
        let mut described: Vec<String> = interface.methods().map(|m| m.name().to_string()).collect();
        let mut there = variants();
        described.sort();
        there.sort();
        assert!(there.len() > 15, "{there:?}");
        assert_eq!(described, there);
    }

    #[test]
    fn each_method_takes_what_is_described_and_needs_what_is_not_optional() {
        let interface = Interface::try_from(DESCRIPTION).unwrap();
        for method in interface.methods() {
            let inputs: Vec<(String, String)> =
                method.inputs().map(|p| (p.name().to_string(), p.ty().to_string())).collect();
            let all: Map<String, Value> = inputs.iter().map(|(n, t)| (n.clone(), value(n, t))).collect();
            call(method.name().as_ref(), &all).unwrap_or_else(|e| panic!("{}: {e}", method.name()));
            for (name, kind) in inputs {
                let mut less = all.clone();
                less.remove(&name);
                assert_eq!(
                    call(method.name().as_ref(), &less).is_ok(),
                    kind.starts_with('?'),
                    "{}: {name}",
                    method.name()
                );
            }
        }
    }

    #[test]
    fn each_error_is_described() {
        let interface = Interface::try_from(DESCRIPTION).unwrap();
        let described: Vec<String> =
            interface.errors().map(|e| format!("{INTERFACE}.{}", e.name())).collect();
        let error = serde_json::from_value::<ApiError>(json!({ "error": "?" })).unwrap_err().to_string();
        let there = error.split('`').filter(|word| word.starts_with(INTERFACE));
        for name in there {
            assert!(described.iter().any(|d| d == name), "{name}");
        }
        assert_eq!(Interface::try_from(SERVICE).unwrap().name(), "org.varlink.service");
    }
}
