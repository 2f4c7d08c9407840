//! What is kept while files are looked at: bounded, and the same whatever the order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use serde::{Deserialize, Serialize};

use super::{Caller, ElfSurvey, Kind, Missing};
use crate::{
    elf::{ElfError, Facts, Form, Level, Link, Machine, Release, Stack, System},
    text::escape,
};

/// Examples that are kept of each.
const EXAMPLES: usize = 8;
/// Callers of the vsyscall page that are kept: those are looked at again.
const CALLERS: usize = 1000;
/// Most names of libraries that are kept; a Debian with a desktop has some thousands.
const MAX_NAMES: usize = 200_000;

/// How many there are, and the first of them by their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Few<T: Ord> {
    /// All.
    pub count: u64,
    /// Some.
    pub examples: BTreeSet<T>,
}

impl<T: Ord> Default for Few<T> {
    fn default() -> Self {
        Few { count: 0, examples: BTreeSet::new() }
    }
}

impl<T: Ord> Few<T> {
    fn add(&mut self, one: T, most: usize) {
        self.count += 1;
        self.keep(one, most);
    }

    fn keep(&mut self, one: T, most: usize) {
        self.examples.insert(one);
        if self.examples.len() > most {
            self.examples.pop_last();
        }
    }

    fn merge(&mut self, other: Self, most: usize) {
        self.count += other.count;
        other.examples.into_iter().for_each(|one| self.keep(one, most));
    }
}

/// The greatest of something, and a file that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen<T> {
    /// It.
    pub value: T,
    /// Where.
    pub path: String,
}

/// Of two the greater; of equal ones that whose path comes first.
fn greater<T: Ord>(kept: &mut Option<Seen<T>>, other: Option<Seen<T>>) {
    let Some(other) = other else { return };
    let beats = |kept: &Seen<T>| (&other.value, &kept.path) > (&kept.value, &other.path);
    if kept.as_ref().is_none_or(beats) {
        *kept = Some(other);
    }
}

/// What is wanted by name: by how many programs and libraries, and by which first.
type Wanted = HashMap<String, Missing>;

/// What was found.
#[derive(Default)]
pub(super) struct Tally {
    told: ElfSurvey,
    kinds: BTreeMap<(Machine, System), (u64, String)>,
    /// Names by which libraries may be found.
    there: HashSet<String>,
    wanted: Wanted,
    loaders: Wanted,
    /// C libraries: path in the root.
    pub(super) libcs: BTreeSet<String>,
}

/// Names of C libraries' own files.
fn is_libc(name: &str) -> bool {
    name == "libc.so.6"
        || name.starts_with("ld-musl-")
        || name.starts_with("libuClibc-")
        || name.starts_with("klibc-")
}

impl Tally {
    pub(super) fn saw_file(&mut self) {
        self.told.files += 1;
    }

    /// A file or a link by this name is there.
    pub(super) fn saw_name(&mut self, name: &str) {
        if name.contains(".so") && self.there.len() < MAX_NAMES {
            self.there.insert(name.to_owned());
        }
    }

    pub(super) fn saw_damaged(&mut self, path: &str, how: &ElfError) {
        self.told.damaged.add(format!("{}: {how}", escape(path)), EXAMPLES);
    }

    pub(super) fn saw(&mut self, path: &str, name: &str, facts: &Facts) {
        let shown = escape(path);
        let program = &facts.program;
        count(self.kinds.entry((program.machine, facts.system)).or_default(), &shown);
        let seen = |value: Option<Release>| value.map(|value| Seen { value, path: shown.clone() });
        if facts.system == System::Linux {
            greater(&mut self.told.oldest_kernel, seen(facts.oldest_kernel));
        }
        greater(&mut self.told.glibc, seen(facts.glibc));
        greater(&mut self.told.level, facts.level.map(|value: Level| Seen { value, path: shown.clone() }));
        match facts.stack {
            Stack::Executable => self.told.executable_stacks.add(shown.clone(), EXAMPLES),
            Stack::Unsaid if program.machine.is_x86() && facts.link != Link::Library => {
                self.told.unsaid_stacks.add(shown.clone(), EXAMPLES);
            }
            _ => {}
        }
        if facts.packed {
            self.told.packed.add(shown.clone(), EXAMPLES);
        }
        if !facts.vsyscalls.is_empty() {
            self.told.vsyscalls.add(Caller { path: shown.clone(), forms: forms(facts) }, CALLERS);
        }
        self.told.static_programs += u64::from(facts.link == Link::Static);
        for library in &facts.libraries {
            want(&mut self.wanted, library, &shown, facts.link);
        }
        if let Some(loader) = &program.interpreter {
            want(&mut self.loaders, loader, &shown, facts.link);
        }
        if let Some(own) = &facts.name {
            self.saw_name(own);
        }
        if is_libc(name) && self.libcs.len() < EXAMPLES {
            self.libcs.insert(path.to_owned());
        }
    }

    pub(super) fn merge(&mut self, other: Tally) {
        let (own, others) = (&mut self.told, other.told);
        own.files += others.files;
        own.static_programs += others.static_programs;
        greater(&mut own.oldest_kernel, others.oldest_kernel);
        greater(&mut own.glibc, others.glibc);
        greater(&mut own.level, others.level);
        own.executable_stacks.merge(others.executable_stacks, EXAMPLES);
        own.unsaid_stacks.merge(others.unsaid_stacks, EXAMPLES);
        own.packed.merge(others.packed, EXAMPLES);
        own.vsyscalls.merge(others.vsyscalls, CALLERS);
        own.damaged.merge(others.damaged, EXAMPLES);
        self.there.extend(other.there);
        self.libcs.extend(other.libcs);
        for (kind, (files, example)) in other.kinds {
            add(self.kinds.entry(kind).or_default(), files, example);
        }
        other.wanted.into_values().for_each(|missing| join(&mut self.wanted, missing));
        other.loaders.into_values().for_each(|missing| join(&mut self.loaders, missing));
    }

    /// What is told of files that lie in no root.
    pub(super) fn alone(self) -> ElfSurvey {
        ElfSurvey { kinds: kinds(self.kinds), ..self.told }
    }

    /// All of it; `present` says whether a file is in the root.
    pub(super) fn told(self, present: impl Fn(&str) -> bool) -> ElfSurvey {
        let mut told = self.told;
        told.kinds = kinds(self.kinds);
        let missing = |wanted: Wanted, there: &dyn Fn(&str) -> bool| {
            let mut few = Few::default();
            for (name, missing) in wanted.into_iter().filter(|(name, _)| !there(name)) {
                few.add(Missing { name: escape(&name), ..missing }, EXAMPLES);
            }
            few
        };
        // A name with a folder is no name to look for.
        told.missing =
            missing(self.wanted, &|name| name.contains('/') && present(name) || self.there.contains(name));
        told.missing_loaders = missing(self.loaders, &|path| path.starts_with('/') && present(path));
        told
    }
}

/// Those that most files are of first.
fn kinds(found: BTreeMap<(Machine, System), (u64, String)>) -> Vec<Kind> {
    let kind = |((machine, system), (files, example))| Kind { machine, system, files, example };
    let mut kinds: Vec<_> = found.into_iter().map(kind).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.files));
    kinds
}

fn forms(facts: &Facts) -> Vec<(Form, u32)> {
    let mut forms = BTreeMap::<Form, u32>::new();
    facts.vsyscalls.iter().for_each(|site| *forms.entry(site.form).or_default() += 1);
    forms.into_iter().collect()
}

fn want(into: &mut Wanted, name: &str, path: &str, by: Link) {
    if into.len() < MAX_NAMES || into.contains_key(name) {
        let libraries = u64::from(by == Link::Library);
        let (name, example) = (name.to_owned(), path.to_owned());
        join(into, Missing { name, programs: 1 - libraries, libraries, example });
    }
}

/// Of the examples a program stays before a library, and the first by its path.
fn join(into: &mut Wanted, other: Missing) {
    match into.entry(other.name.clone()) {
        Entry::Vacant(place) => {
            place.insert(other);
        }
        Entry::Occupied(mut place) => {
            let kept = place.get_mut();
            if (other.programs == 0, &other.example) < (kept.programs == 0, &kept.example) {
                kept.example = other.example;
            }
            kept.programs += other.programs;
            kept.libraries += other.libraries;
        }
    }
}

fn count(kept: &mut (u64, String), path: &str) {
    add(kept, 1, path.to_owned());
}

/// Of the examples the first by its path stays.
fn add(kept: &mut (u64, String), files: u64, example: String) {
    if kept.0 == 0 || example < kept.1 {
        kept.1 = example;
    }
    kept.0 += files;
}
