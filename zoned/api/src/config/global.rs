//! What can be set of `global`, the host's own processes.

use std::collections::BTreeMap;

use super::limits::{DEFAULT_SHARES, MAX_SHARES};
use crate::error::ApiError;

/// What the host is called among zones, as in zonecfg(8).
pub const GLOBAL: &str = "global";

/// All that can be set of it.
const KEY: &str = "cpu.shares";

/// The shares that [`crate::Method::Set`] gives `global`: 1 to 10000; an empty value is the default, 100.
///
/// # Errors
/// Another key, or a value that is none: what, and what is accepted.
pub fn global_shares(values: &BTreeMap<String, String>) -> Result<u32, ApiError> {
    if let Some(key) = values.keys().find(|key| *key != KEY) {
        let why = format!("{GLOBAL}: {key}: nothing but {KEY} can be set of the host's own processes");
        return Err(ApiError::invalid(why, Some(format!("`zonectl set {GLOBAL} {KEY}=300`"))));
    }
    let Some(text) = values.get(KEY).map(|text| text.trim()) else {
        let why = format!("{GLOBAL}: no key was given");
        return Err(ApiError::invalid(why, Some(format!("`zonectl set {GLOBAL} {KEY}=300`"))));
    };
    let shares = match text {
        "" => Ok(DEFAULT_SHARES),
        text => text.parse::<u64>(),
    };
    let wrong = |why: &str| {
        let shown: String = text.chars().take(60).collect();
        let hint = format!(
            "give a whole number from 1 to {MAX_SHARES}; a zone has {DEFAULT_SHARES} if it was given none"
        );
        ApiError::invalid(format!("{GLOBAL}: {KEY}={shown}: {why}"), Some(hint))
    };
    match shares.map(u32::try_from) {
        Ok(Ok(0)) => Err(wrong(
            "without shares the host could not be administered while a zone is busy; 1 is the least",
        )),
        Ok(Ok(shares)) if u64::from(shares) <= MAX_SHARES => Ok(shares),
        Ok(_) => Err(wrong(&format!("is not between 1 and {MAX_SHARES}"))),
        Err(_) => Err(wrong("is no whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[(&str, &str)]) -> Result<u32, String> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        global_shares(&values).map_err(|e| e.to_string())
    }

    #[test]
    fn shares_and_nothing_else_can_be_set() {
        assert_eq!(asked(&[(KEY, "300")]), Ok(300));
        assert_eq!(
            (asked(&[(KEY, "1")]), asked(&[(KEY, "10000")]), asked(&[(KEY, "")])),
            (Ok(1), Ok(10_000), Ok(100))
        );
        for (key, value, says) in [
            (KEY, "0", "global: cpu.shares=0: without shares the host could not be administered"),
            (KEY, "10001", "cpu.shares=10001: is not between 1 and 10000"),
            (KEY, "4294967596", "is not between 1 and 10000"),
            (KEY, "-1", "is no whole number"),
            (KEY, "many", "is no whole number"),
            ("cpu.cap", "1", "global: cpu.cap: nothing but cpu.shares can be set"),
            ("cpu", "{ shares: 3 }", "global: cpu: nothing but cpu.shares"),
            ("autoboot", "true", "global: autoboot: nothing but cpu.shares"),
        ] {
            let said = asked(&[(key, value)]).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
        assert!(asked(&[(KEY, "300"), ("cpu.cap", "1")]).is_err() && asked(&[]).is_err());
    }
}
