//! Counting tests by what libtest prints.

use std::ops::AddAssign;

/// How many tests ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |what: &str| counts.split("; ").find_map(|c| c.strip_suffix(what)?.trim().parse().ok());
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }

    /// Turns tests that passed only because they found nothing to test on this machine into skipped ones.
    pub(crate) fn skip(&mut self, tests: u64) {
        let tests = tests.min(self.passed);
        self.passed -= tests;
        self.skipped += tests;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtests_result_lines_are_read() {
        let ok =
            "test result: ok. 31 passed; 0 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.01s";
        assert_eq!(Tally::read(ok), Some(Tally { passed: 31, failed: 0, skipped: 2 }));
        let failed =
            "test result: FAILED. 1 passed; 7 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9s";
        assert_eq!(Tally::read(failed), Some(Tally { passed: 1, failed: 7, skipped: 0 }));
        assert_eq!(Tally::read("test boot::runs ... ok"), None);
    }

    #[test]
    fn a_skip_is_not_a_pass() {
        let mut tally = Tally { passed: 3, failed: 1, skipped: 0 };
        tally.skip(2);
        assert_eq!(tally.to_string(), "1 passed, 1 failed, 2 skipped");
    }
}
