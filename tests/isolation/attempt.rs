//! Attempts, what must become of them, and the proof that it is the isolation that refuses.

use std::{collections::BTreeMap, fmt::Write};

use crate::arena::{Arena, Place};

/// Something a hostile root tries.
#[derive(Debug)]
pub(crate) struct Attempt {
    aim: &'static str,
    script: String,
    says: &'static str,
    nested: &'static str,
    why: &'static str,
    elsewhere: Vec<(Place, String, &'static str)>,
}

/// An attempt by a script of system calls (`tests/src/attack/script.rs` has the language).
pub(crate) fn attempt(aim: &'static str, script: impl Into<String>) -> Attempt {
    Attempt { aim, script: script.into(), says: "", nested: "", why: "", elsewhere: Vec::new() }
}

impl Attempt {
    /// What the zone is told (`ERRNO CALL`, several with `|` between), and which mechanism says so. From a user
    /// namespace inside the zone the same is expected.
    pub(crate) fn refused(mut self, says: &'static str, why: &'static str) -> Self {
        (self.says, self.nested, self.why) = (says, says, why);
        self
    }

    /// From a user namespace inside the zone something else is said.
    pub(crate) fn nested(mut self, says: &'static str) -> Self {
        self.nested = says;
        self
    }

    /// The script.
    pub(crate) fn script(&self) -> &str {
        &self.script
    }

    /// Checks what the zone was told.
    #[track_caller]
    pub(crate) fn told(&self, said: &str) {
        println!("attempt to {}: {said}; {}", self.aim, self.why);
        assert!(matches(said, self.says), "{}: {said}, not {}\n  {}", self.aim, self.says, self.script);
    }

    /// The same script elsewhere: what it says where that mechanism is not in the way.
    pub(crate) fn but(self, place: Place, says: &'static str) -> Self {
        let script = self.script.clone();
        self.but_by(place, script, says)
    }

    /// A script of the same shape elsewhere.
    pub(crate) fn but_by(mut self, place: Place, script: impl Into<String>, says: &'static str) -> Self {
        self.elsewhere.push((place, script.into(), says));
        self
    }
}

/// Makes all attempts in a zone, in a namespace nested in it, and wherever else they are to be made; prints what came
/// of each.
///
/// # Panics
/// If one came to something else than it must, with all of those.
#[track_caller]
pub(crate) fn judge(arena: &Arena, zone: &'static str, attempts: &[Attempt]) {
    let mut scripts: BTreeMap<Place, Vec<(usize, String, &str)>> = BTreeMap::new();
    for (at, attempt) in attempts.iter().enumerate() {
        let own = [(Place::Zone(zone), attempt.says), (Place::Nested(zone), attempt.nested)];
        let own = own.map(|(place, says)| (place, attempt.script.clone(), says));
        for (place, script, says) in own.iter().chain(&attempt.elsewhere) {
            scripts.entry(*place).or_default().push((at, script.clone(), says));
        }
    }
    let mut rows: Vec<String> =
        attempts.iter().map(|attempt| format!("attempt to {}:", attempt.aim)).collect();
    let mut wrong = Vec::new();
    for (place, cases) in &scripts {
        let texts: Vec<String> = cases.iter().map(|(_, script, _)| script.clone()).collect();
        for ((at, script, says), said) in cases.iter().zip(arena.run(*place, &texts)) {
            let _ = write!(rows[*at], " {} {said};", shown(*place));
            if !matches(&said, says) {
                let aim = attempts[*at].aim;
                wrong.push(format!("{aim}\n  {place:?}: {said}, not {says}\n  {script}"));
            }
        }
    }
    for (row, attempt) in rows.iter().zip(attempts) {
        println!("{row} {}", attempt.why);
    }
    assert!(wrong.is_empty(), "{} of {} attempts:\n{}", wrong.len(), attempts.len(), wrong.join("\n"));
}

/// Whether an answer is one of those expected; `ok` is any success.
fn matches(said: &str, expected: &str) -> bool {
    expected.split('|').any(|one| said == one || (one == "ok" && said.starts_with("ok ")))
}

fn shown(place: Place) -> &'static str {
    match place {
        Place::Zone(_) => "in the zone",
        Place::Nested(_) => "nested",
        Place::Unfiltered => "without the filter",
        Place::Host => "on the host",
        Place::HostUser(_) => "a user of the host",
        Place::Escaped(_) => "with the ids alone",
        Place::Group(_) => "host's root in the zone's cgroup",
    }
}
