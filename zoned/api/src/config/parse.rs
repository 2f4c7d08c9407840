//! From YAML text to a configuration, and back.

use super::{MAX_TEXT, ZoneConfig, wording};
use crate::error::ApiError;

/// Most brackets that may be open at once. No configuration nests deeper than ten.
const MAX_OPEN: usize = 500;

impl ZoneConfig {
    /// Parses and checks YAML text. Errors give line and column, what is wrong and the accepted form.
    pub fn parse(yaml: &str) -> Result<Self, ApiError> {
        if yaml.len() > MAX_TEXT {
            let message =
                format!("configuration: {} bytes are too many; {MAX_TEXT} is the limit", yaml.len());
            return Err(ApiError::invalid(message, None));
        }
        bounded_depth(yaml)?;
        let config: Self =
            serde_yaml::from_str(yaml).map_err(|e| ApiError::Invalid(wording::fault(&e, yaml)))?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as YAML, keys with default values left out.
    pub fn to_yaml(&self) -> Result<String, ApiError> {
        serde_yaml::to_string(self).map_err(|e| ApiError::failed(format!("configuration: {e}"), None))
    }
}

/// Refuses brackets in brackets in brackets: the parser takes time by the square of their depth, minutes for what
/// fits into [`MAX_TEXT`]. Quoted ones count too, which is why so many are allowed.
pub(super) fn bounded_depth(yaml: &str) -> Result<(), ApiError> {
    let mut open = 0_usize;
    for byte in yaml.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_OPEN {
            let message = format!("configuration: more than {MAX_OPEN} brackets are open at once");
            return Err(ApiError::invalid(message, None));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Why a text is refused.
    pub(in super::super) fn fault(yaml: &str) -> String {
        match ZoneConfig::parse(yaml) {
            Err(ApiError::Invalid(f)) => f.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_least_configuration_is_a_sparse_native_zone() {
        let c = ZoneConfig::parse("zone: a").unwrap();
        assert!(c.root.sparse && c.brand == "native" && c.limitpriv == ["default"]);
        assert_eq!(ZoneConfig::parse(&c.to_yaml().unwrap()).unwrap(), c);
    }

    #[test]
    fn faults_name_the_place() {
        assert!(
            fault("zone: a\nautobot: true").contains("line 2, column 1"),
            "{}",
            fault("zone: a\nautobot: true")
        );
        assert!(fault("zone: a\nautobot: true").contains("unknown field `autobot`"));
        assert!(fault("zone: a\nautoboot: 7").contains("line 2"));
        assert!(fault("zone: ../x").contains("begins with a letter or digit"));
        assert!(fault("zone: a\nroot: { sparse: true, image: debian:bookworm }").contains("contradict"));
        assert!(fault("zone: a\nfs: [{ source: /a, target: /b/../c }]").contains("fs[0].target"));
    }

    #[test]
    fn depth_is_bounded_before_the_parser_sees_it() {
        let deep = |n: usize| format!("zone: a\nprocess: {{ command: ['{}'] }}", "[".repeat(n));
        assert!(ZoneConfig::parse(&deep(MAX_OPEN - 2)).is_ok());
        assert!(fault(&deep(MAX_OPEN)).contains("brackets"));
        assert!(ZoneConfig::set("zone: a", &[("fs".into(), "[".repeat(1000))].into()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = ZoneConfig::parse(&text);
            let _ = ZoneConfig::set("zone: a", &[(text.clone(), text)].into());
        }
    }
}
