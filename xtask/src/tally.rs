//! Counting tests by what libtest prints.
//!
//! libtest knows no test that found nothing to test on this machine. Here such a test prints a line `skipped: WHY` and
//! returns; run with `--show-output` libtest shows that line below the test's name, and it counts as skipped, not as
//! passed.

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
    fn read(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |what: &str| counts.split("; ").find_map(|c| c.strip_suffix(what)?.trim().parse().ok());
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
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

/// Reads the output of test programs, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) tally: Tally,
    /// Tests that were skipped, each with the reason.
    pub(crate) skipped: Vec<String>,
    /// Tests that failed, each with the first lines of what its panic said.
    pub(crate) failed: Vec<String>,
    /// Lines of a panic that are still to come.
    panic: usize,
    /// The test whose output is being read.
    test: Option<String>,
    /// Skips of the program whose result has not been read yet.
    pending: u64,
}

/// Lines of a panic that are kept.
const PANIC: usize = 4;

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        self.panicked(line);
        if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.test = Some(test.to_owned());
        } else if let Some(why) = line.strip_prefix("skipped: ") {
            // A test is skipped once, whatever else it says.
            if let Some(test) = self.test.take() {
                self.skipped.push(format!("{test}: {why}"));
                self.pending += 1;
            }
        } else if let Some(mut result) = Tally::read(line) {
            let skips = std::mem::take(&mut self.pending).min(result.passed);
            result.passed -= skips;
            result.skipped += skips;
            self.tally += result;
            self.test = None;
        }
    }

    /// Reads `thread 'a::b' (71) panicked at src/a.rs:3:5:` and the lines below it.
    fn panicked(&mut self, line: &str) {
        let test = line.strip_prefix("thread '").and_then(|rest| rest.split_once("' "));
        if let Some((test, place)) =
            test.and_then(|(test, rest)| Some((test, rest.split_once("panicked at ")?.1)))
        {
            self.failed.push(format!("{test}: {place}"));
            self.panic = PANIC;
        } else if line.is_empty() || line.starts_with("note: ") || line.starts_with("stack backtrace:") {
            self.panic = 0;
        } else if let (1.., Some(failed)) = (self.panic, self.failed.last_mut()) {
            self.panic -= 1;
            failed.push_str("\n        ");
            failed.push_str(line);
        }
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
        let mut reader = Reader::default();
        let output = "successes:\n\n---- a::b stdout ----\nskipped: takes root\nskipped: twice\n\n---- c stdout ----\n\
                      measured 3\n\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
                      finished in 1s\nskipped: nobody said this\n\
                      test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        output.lines().for_each(|line| reader.line(line));
        assert_eq!(reader.tally.to_string(), "3 passed, 0 failed, 2 skipped");
        assert_eq!(reader.skipped, ["a::b: takes root"]);
    }

    #[test]
    fn a_failure_is_kept_with_what_it_said() {
        let mut reader = Reader::default();
        let output = "failures:\n\n---- a::b stdout ----\nmeasured 3\n\nthread 'a::b' (7) panicked at src/a.rs:3:5:\n\
                      held to 7\n  at a cap of 4\nnote: run with RUST_BACKTRACE=1\nmore\n\nfailures:\n    a::b\n\n\
                      test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        output.lines().for_each(|line| reader.line(line));
        assert_eq!(reader.failed, ["a::b: src/a.rs:3:5:\n        held to 7\n          at a cap of 4"]);
    }
}
