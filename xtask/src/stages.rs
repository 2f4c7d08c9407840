//! The parts of a run of tests, and what came of them.

use crate::{
    progress::seconds,
    tally::{Reader, Tally},
};
use anyhow::{Result, bail};
use std::time::Duration;

/// A part of the run, with what came of it.
pub(crate) struct Stage {
    name: String,
    took: Duration,
    tally: Tally,
    /// Tests that were skipped, with the reason.
    skipped: Vec<String>,
    /// Tests that failed, with what they said.
    failed: Vec<String>,
    /// Some test program failed, crashed, or did not compile.
    broken: bool,
}

impl Stage {
    /// A part in which tests ran.
    pub(crate) fn new(name: &str, took: Duration, read: Reader, broken: bool) -> Self {
        let Reader { tally, skipped, failed, .. } = read;
        Self { name: name.to_owned(), took, tally, skipped, failed, broken }
    }

    /// A part without tests.
    pub(crate) fn passed(name: &str, took: Duration) -> Self {
        Self::new(name, took, Reader::default(), false)
    }
}

/// Prints what came of each part and of all; fails if one did.
pub(crate) fn conclude(stages: &[Stage]) -> Result<()> {
    println!("\n== summary");
    let mut sum = Tally::default();
    for stage in stages {
        let Stage { name, took, tally, skipped, failed, broken } = stage;
        sum += *tally;
        // A program that crashed or did not compile has printed no result line.
        let note =
            if *broken && tally.failed == 0 { ", and a test program did not run to its end" } else { "" };
        match *tally == Tally::default() && !broken {
            true => println!("{name:<18} {:>8}", seconds(*took)),
            false => println!("{name:<18} {:>8}  {tally}{note}", seconds(*took)),
        }
        skipped.iter().for_each(|test| println!("    skipped: {test}"));
        failed.iter().for_each(|test| println!("    failed: {test}"));
    }
    println!("{sum}");
    if stages.iter().any(|stage| stage.broken) {
        bail!("tests failed");
    }
    Ok(())
}
