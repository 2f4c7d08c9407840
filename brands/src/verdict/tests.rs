//! Surveys made by hand, each with one thing wrong.

use std::collections::BTreeSet;

use super::*;
use crate::{
    detect::{Detection, InitCheck, InitKind},
    elf::Form,
    survey::{Caller, ElfSurvey, Few, Libc, LibcKind, Missing, PackageManager, Seen},
};

const X86_64: Machine = Machine { number: 62, bits: 64, big_endian: false };

fn host() -> Host {
    Host { kernel: Release([6, 12, 0]), vsyscall: false, level: Some(Level(2)) }
}

/// A plain Debian 12.
fn survey() -> Survey {
    let init = InitCheck::Ok {
        kind: InitKind::Systemd,
        version: Some("252".into()),
        machine: X86_64,
        interpreter: None,
    };
    let kind = Kind { machine: X86_64, system: System::Linux, files: 900, example: "/bin/ls".into() };
    let glibc = libc("2.36");
    Survey {
        detection: Some(Detection { os: None, init }),
        records: Vec::new(),
        package_managers: vec![PackageManager::Dpkg],
        libcs: vec![glibc],
        elf: ElfSurvey { kinds: vec![kind], ..ElfSurvey::default() },
        cut_short: None,
    }
}

fn libc(release: &str) -> Libc {
    let release = Release::parse(release);
    Libc { kind: LibcKind::Glibc, release, machine: X86_64, path: "/lib/libc.so.6".into() }
}

fn few<T: Ord, const N: usize>(examples: [T; N]) -> Few<T> {
    Few { count: N as u64, examples: BTreeSet::from(examples) }
}

fn seen<T>(value: T) -> Option<Seen<T>> {
    Some(Seen { value, path: "/bin/it".into() })
}

/// The findings of a root in which something is changed.
fn found(change: impl FnOnce(&mut Survey)) -> Vec<(String, Weight)> {
    let mut survey = survey();
    change(&mut survey);
    judge(&survey, &host()).findings.into_iter().map(|finding| (finding.id, finding.weight)).collect()
}

fn one(id: &str, weight: Weight) -> Vec<(String, Weight)> {
    vec![(id.to_owned(), weight)]
}

#[test]
fn a_plain_root_is_plain() {
    let verdict = judge(&survey(), &host());
    assert_eq!((verdict.findings, verdict.weight), (vec![], Weight::Note));
    assert_eq!(
        verdict.is[1..],
        ["built for x86-64, Linux", "glibc 2.36, /lib/libc.so.6", "packages by dpkg"]
    );
}

#[test]
fn what_cannot_run_is_refused() {
    let kind = |system, number| {
        move |s: &mut Survey| {
            s.elf.kinds[0].system = system;
            s.elf.kinds[0].machine.number = number;
        }
    };
    assert_eq!(found(kind(System::FreeBsd, 62)), one("another-system", Weight::Refusal));
    assert_eq!(found(kind(System::Hurd, 62)), one("another-system", Weight::Refusal));
    assert_eq!(found(kind(System::Android, 62)), one("another-system", Weight::Refusal));
    assert_eq!(found(kind(System::Linux, 22)), one("another-machine", Weight::Refusal));
    // Of another system the machine does not matter.
    assert_eq!(found(kind(System::FreeBsd, 22)), one("another-system", Weight::Refusal));
    assert_eq!(found(|s| s.elf.kinds.clear()), one("empty", Weight::Refusal));
    assert_eq!(found(|s| s.elf.level = seen(Level(3))), one("newer-processor", Weight::Refusal));
    assert_eq!(found(|s| s.elf.level = seen(Level(2))), []);
    assert_eq!(
        found(|s| s.elf.oldest_kernel = seen(Release([6, 13, 0]))),
        one("newer-kernel", Weight::Refusal)
    );
    assert_eq!(found(|s| s.elf.oldest_kernel = seen(Release([6, 12, 0]))), []);
}

#[test]
fn a_few_files_of_another_kind_do_not_make_the_root_one() {
    let foreign = Kind { machine: X86_64, system: System::FreeBsd, files: 3, example: "/opt/x".into() };
    assert_eq!(found(|s| s.elf.kinds.push(foreign)), []);
}

#[test]
fn what_is_old_needs_shims() {
    let caller = |form| Caller { path: "/bin/old".into(), forms: vec![(form, 1)] };
    assert_eq!(found(|s| s.elf.vsyscalls = few([caller(Form::Call)])), one("vsyscall", Weight::Shim));
    let odd = found(|s| s.elf.vsyscalls = few([caller(Form::Other)]));
    assert_eq!(odd, [one("vsyscall", Weight::Shim), one("vsyscall-caught", Weight::Shim)].concat());
    assert_eq!(found(|s| s.libcs = vec![libc("2.17")]), one("descriptors", Weight::Shim));
    assert_eq!(found(|s| s.libcs = vec![libc("2.19")]), []);
    assert_eq!(
        found(|s| s.package_managers = vec![PackageManager::RpmBdb]),
        one("berkeley-db", Weight::Shim)
    );
    let systemd = |number: &str| {
        let version = Some(number.to_owned());
        let init = InitCheck::Ok { kind: InitKind::Systemd, version, machine: X86_64, interpreter: None };
        found(|s| s.detection = Some(Detection { os: None, init }))
    };
    assert_eq!(systemd("219"), one("cgroup-v1", Weight::Shim));
    assert_eq!(systemd("231"), []);
    assert_eq!(systemd("strange"), []);
}

#[test]
fn where_the_host_has_a_vsyscall_page_nothing_is_to_be_done() {
    let mut survey = survey();
    survey.elf.vsyscalls = few([Caller { path: "/bin/old".into(), forms: vec![(Form::Other, 1)] }]);
    let verdict = judge(&survey, &Host { vsyscall: true, ..host() });
    assert_eq!((verdict.findings.len(), verdict.weight), (1, Weight::Note));
}

#[test]
fn what_is_not_there_is_told_and_plugins_are_forgiven() {
    let missing =
        |programs, libraries| Missing { name: "libx.so.1".into(), programs, libraries, example: "/x".into() };
    assert_eq!(found(|s| s.elf.missing = few([missing(1, 0)])), one("missing-library", Weight::Warning));
    assert_eq!(found(|s| s.elf.missing = few([missing(0, 4)])), one("missing-library", Weight::Note));
    assert_eq!(
        found(|s| s.elf.missing_loaders = few([missing(1, 0)])),
        one("missing-loader", Weight::Warning)
    );
    assert_eq!(found(|s| s.elf.glibc = seen(Release([2, 38, 0]))), one("newer-glibc", Weight::Warning));
    assert_eq!(found(|s| s.elf.glibc = seen(Release([2, 36, 0]))), []);
    let none = InitCheck::Missing { path: "/sbin/init".into() };
    assert_eq!(
        found(|s| s.detection = Some(Detection { os: None, init: none })),
        one("no-init", Weight::Warning)
    );
}

#[test]
fn a_single_file_is_judged_by_what_it_is() {
    let verdict = |change: fn(&mut Survey)| {
        let mut survey = survey();
        (survey.detection, survey.libcs, survey.package_managers) = (None, vec![], vec![]);
        change(&mut survey);
        judge(&survey, &host())
    };
    let plain = verdict(|_| {});
    assert_eq!((plain.is, plain.findings), (vec!["built for x86-64, Linux".to_owned()], vec![]));
    assert_eq!(verdict(|s| s.elf.kinds[0].system = System::Hurd).weight, Weight::Refusal);
}

#[test]
fn what_was_not_seen_is_told() {
    assert_eq!(found(|s| s.cut_short = Some("it takes too long".into())), one("unfinished", Weight::Warning));
    assert_eq!(
        found(|s| s.elf.damaged = few(["/bin/x: broken".to_owned()])),
        one("damaged", Weight::Warning)
    );
}

#[test]
fn the_heaviest_comes_first() {
    let all = found(|s| {
        s.elf.packed = few(["/bin/packed".to_owned()]);
        s.libcs = vec![libc("2.5")];
        s.elf.level = seen(Level(4));
    });
    let weights: Vec<_> = all.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [Weight::Refusal, Weight::Shim, Weight::Note]);
}
