//! A set of CPUs.

use std::{collections::BTreeSet, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::Scalar;

/// Most CPUs any kernel knows.
pub(super) const MAX_CPUS: u32 = 8192;

/// CPUs by number, as the kernel writes them: `0-1,3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar", into = "Scalar")]
#[schemars(with = "Scalar")]
pub struct CpuSet(BTreeSet<u32>);

impl CpuSet {
    /// From the kernel's form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is no list of CPUs; write numbers and ranges, like 0-1,3");
        let mut set = BTreeSet::new();
        for part in text.trim().split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let number = |n: &str| n.trim().parse::<u32>().ok().filter(|n| *n < MAX_CPUS).ok_or_else(form);
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(form());
            }
            set.extend(from..=to);
        }
        Ok(Self(set))
    }

    /// Those that the other set has not.
    pub fn without(&self, other: &Self) -> Option<Self> {
        let rest: BTreeSet<u32> = self.0.difference(&other.0).copied().collect();
        (!rest.is_empty()).then_some(Self(rest))
    }

    /// Those that both sets have.
    pub fn common(&self, other: &Self) -> Option<Self> {
        let common: BTreeSet<u32> = self.0.intersection(&other.0).copied().collect();
        (!common.is_empty()).then_some(Self(common))
    }

    /// Those that either set has.
    pub fn with(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// The numbers.
    pub fn numbers(&self) -> &BTreeSet<u32> {
        &self.0
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl TryFrom<Scalar> for CpuSet {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        Self::parse(&scalar.written())
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for cpu in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
                _ => runs.push((*cpu, *cpu)),
            }
        }
        let shown = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
        f.write_str(&shown.collect::<Vec<_>>().join(","))
    }
}

impl From<CpuSet> for Scalar {
    fn from(set: CpuSet) -> Self {
        Self::plain(set.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_have_the_kernels_form() {
        let set = |text: &str| CpuSet::parse(text).unwrap();
        assert_eq!(set("3,0-1,2,7\n").to_string(), "0-3,7");
        assert_eq!(set("0-4").without(&set("0-1")).unwrap().to_string(), "2-4");
        assert_eq!((set("0").without(&set("0-1")), set("0-3,9").count()), (None, 5));
        assert_eq!(set("0,2").with(&set("1,2")).to_string(), "0-2");
        assert_eq!(set("0-2").common(&set("1-3")), Some(set("1-2")));
        assert_eq!(set("0").common(&set("1")), None);
    }

    proptest::proptest! {
        #[test]
        fn no_list_of_cpus_makes_it_panic(text in "[0-9,\\- ]{0,40}") {
            if let Ok(set) = CpuSet::parse(&text) {
                proptest::prop_assert_eq!(CpuSet::parse(&set.to_string()).unwrap(), set);
            }
        }
    }
}
