//! Sizes, as people write them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number or a text: YAML takes `0` for one and `0-1` for the other.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number, or text")]
pub enum Scalar {
    /// A number.
    Number(u64),
    /// Text.
    Text(String),
    /// What no key takes, kept for the message.
    #[schemars(skip)]
    Other(f64),
}

impl Scalar {
    /// As it was written.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Other(number) => number.to_string(),
        }
    }

    /// As YAML needs no quotes for it.
    pub(super) fn plain(text: String) -> Self {
        text.parse().map_or(Self::Text(text), Self::Number)
    }
}

/// A size in bytes: `1048576`, `1024K`, `1M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar", into = "Scalar")]
#[schemars(with = "Scalar")]
pub struct Size(pub u64);

const UNITS: [(&str, u32); 4] = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];

impl TryFrom<Scalar> for Size {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        if let Scalar::Number(bytes) = scalar {
            return Ok(Self(bytes));
        }
        let text = scalar.written();
        let plain = text.strip_suffix("iB").unwrap_or(&text);
        let unit = UNITS.iter().find_map(|(unit, shift)| Some((plain.strip_suffix(unit)?, *shift)));
        let (number, shift) = unit.unwrap_or((text.as_str(), 0));
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(format!("{text:?} is no size; write bytes, or K, M, G or T like 512M"));
        }
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
        bytes
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(Self)
            .ok_or_else(|| format!("{text} is more than can be counted; 8388607T is the most"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, shift): &&(&str, u32)| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match UNITS.iter().find(fits) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl From<Size> for Scalar {
    fn from(size: Size) -> Self {
        Self::plain(size.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_their_largest_whole_unit() {
        let shown = [0, 1023, 1 << 10, 3 << 20, (1 << 30) + 1, 5 << 40].map(|n| Size(n).to_string());
        assert_eq!(shown, ["0", "1023", "1K", "3M", "1073741825", "5T"]);
    }
}
