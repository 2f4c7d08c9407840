//! What is held against a root: one function a finding, each with its reason.

use super::{Finding, Host, Weight, described, main_kind};
use crate::{
    detect::{InitCheck, InitKind},
    elf::{Form, Machine, Release, System},
    survey::{Few, LibcKind, Missing, PackageManager, Survey},
};

/// The first release of systemd that boots without a hierarchy of version 1 (its NEWS).
const SYSTEMD_WITH_V2: u32 = 231;
/// glibc up to here comes with programs that close every descriptor there may be.
const CLOSES_ALL: Release = Release([2, 17, 0]);

const RULES: [fn(&Survey, &Host) -> Option<Finding>; 17] = [
    nothing,
    another_system,
    another_machine,
    newer_processor,
    newer_kernel,
    newer_glibc,
    no_init,
    vsyscalls,
    caught_vsyscalls,
    old_systemd,
    many_descriptors,
    berkeley_db,
    missing_loaders,
    missing_libraries,
    packed,
    damaged,
    unfinished,
];

pub(super) fn all(survey: &Survey, host: &Host) -> Vec<Finding> {
    RULES.iter().filter_map(|rule| rule(survey, host)).collect()
}

fn finding(id: &str, weight: Weight, what: impl Into<String>, then: impl Into<String>) -> Finding {
    Finding { id: id.into(), weight, what: what.into(), evidence: Vec::new(), then: then.into() }
}

impl Finding {
    fn by(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }
}

fn nothing(survey: &Survey, _: &Host) -> Option<Finding> {
    let what = "there is no program in it";
    let then = "is it the folder that holds bin and etc? an image is to be unpacked first";
    survey.elf.kinds.is_empty().then(|| finding("empty", Weight::Refusal, what, then))
}

fn another_system(survey: &Survey, _: &Host) -> Option<Finding> {
    let kind = main_kind(survey).filter(|kind| kind.system != System::Linux)?;
    let what = format!("its programs are {}", described(kind.machine, kind.system));
    let then = match kind.system {
        System::Android => "its C library wants Android's kernel and services, which no zone has",
        _ => "their system calls are another kernel's: run it in a virtual machine",
    };
    Some(finding("another-system", Weight::Refusal, what, then).by([kind.example.clone()]))
}

fn another_machine(survey: &Survey, _: &Host) -> Option<Finding> {
    let kind = main_kind(survey).filter(|kind| kind.system == System::Linux && !kind.machine.runs_here())?;
    let what = format!("its programs are built for {}, and this host runs {}", kind.machine, Machine::host());
    Some(
        finding("another-machine", Weight::Refusal, what, "use an image for this host")
            .by([kind.example.clone()]),
    )
}

fn newer_processor(survey: &Survey, host: &Host) -> Option<Finding> {
    let wanted =
        survey.elf.level.as_ref().filter(|wanted| host.level.is_some_and(|level| wanted.value > level))?;
    let what =
        format!("some of it wants a processor of {}, and this host's is {}", wanted.value, host.level?);
    let then = "programs end with \"CPU does not support\": use an older release, or a newer host";
    Some(finding("newer-processor", Weight::Refusal, what, then).by([wanted.path.clone()]))
}

fn newer_kernel(survey: &Survey, host: &Host) -> Option<Finding> {
    let wanted = survey.elf.oldest_kernel.as_ref().filter(|wanted| wanted.value > host.kernel)?;
    let what = format!("some of it wants Linux {}, and this is {}", wanted.value, host.kernel);
    let then = "programs end with \"kernel too old\": use an older release, or a newer host";
    Some(finding("newer-kernel", Weight::Refusal, what, then).by([wanted.path.clone()]))
}

fn newer_glibc(survey: &Survey, _: &Host) -> Option<Finding> {
    let wanted = survey.elf.glibc.as_ref()?;
    let of = |libc: &crate::survey::Libc| (libc.kind == LibcKind::Glibc).then_some(libc.release).flatten();
    let there = survey.libcs.iter().filter_map(of).max().filter(|there| wanted.value > *there)?;
    let what = format!("some of it wants glibc {}, and the newest there is {there}", wanted.value);
    let then = "those programs do not start: they were not made for this system";
    Some(finding("newer-glibc", Weight::Warning, what, then).by([wanted.path.clone()]))
}

fn no_init(survey: &Survey, _: &Host) -> Option<Finding> {
    let init = &survey.detection.as_ref()?.init;
    let then = "it can run under the built-in init (process.init: none), which starts no service";
    (!init.can_boot()).then(|| finding("no-init", Weight::Warning, init.to_string(), then))
}

fn vsyscalls(survey: &Survey, host: &Host) -> Option<Finding> {
    let callers = &survey.elf.vsyscalls;
    if callers.count == 0 {
        return None;
    }
    let what = format!("{} call the vsyscall page", files(callers.count));
    let evidence = callers.examples.iter().take(8).map(|caller| caller.path.clone());
    let (weight, then) = match host.vsyscall {
        true => {
            (Weight::Note, "this host's kernel has one; on one without they end with a segmentation fault")
        }
        false => (Weight::Shim, "this host's kernel has none: the calls are to be rewritten, or caught"),
    };
    Some(finding("vsyscall", weight, what, then).by(evidence))
}

/// Those that no rewriting of nine bytes mends.
fn caught_vsyscalls(survey: &Survey, host: &Host) -> Option<Finding> {
    let odd = |caller: &&crate::survey::Caller| caller.forms.iter().any(|(form, _)| *form == Form::Other);
    let callers: Vec<_> =
        survey.elf.vsyscalls.examples.iter().filter(odd).map(|caller| caller.path.clone()).collect();
    if host.vsyscall || callers.is_empty() {
        return None;
    }
    let what =
        format!("{} call the vsyscall page in a way that cannot be rewritten", files(callers.len() as u64));
    let then = "each call is to be caught where it faults";
    Some(finding("vsyscall-caught", Weight::Shim, what, then).by(callers.into_iter().take(8)))
}

fn old_systemd(survey: &Survey, _: &Host) -> Option<Finding> {
    let InitCheck::Ok { kind: InitKind::Systemd, version: Some(version), .. } =
        &survey.detection.as_ref()?.init
    else {
        return None;
    };
    let version: u32 = version.parse().ok().filter(|version| *version < SYSTEMD_WITH_V2)?;
    let what = format!("its systemd is {version}, which knows cgroups of version 1 alone");
    let then = "a hierarchy name=systemd is to be mounted for it; without one it stops while it boots";
    Some(finding("cgroup-v1", Weight::Shim, what, then))
}

fn many_descriptors(survey: &Survey, _: &Host) -> Option<Finding> {
    let old = |libc: &&crate::survey::Libc| {
        libc.kind == LibcKind::Glibc && libc.release.is_some_and(|release| release <= CLOSES_ALL)
    };
    let libc = survey.libcs.iter().find(old)?;
    let what =
        format!("its glibc is {}, of programs that close every descriptor there may be", libc.release?);
    let then = "the limit of open files is to be 1,024, 4,096 at most, or they take minutes to start another";
    Some(finding("descriptors", Weight::Shim, what, then).by([libc.path.clone()]))
}

fn berkeley_db(survey: &Survey, _: &Host) -> Option<Finding> {
    let has = survey.package_managers.contains(&PackageManager::RpmBdb);
    let what = "its rpm keeps packages in a Berkeley DB";
    let then = "on an overlay that is to be copied up before rpm runs, or it finds its checksums invalid";
    has.then(|| finding("berkeley-db", Weight::Shim, what, then).by(["/var/lib/rpm/Packages".to_owned()]))
}

fn missing_loaders(survey: &Survey, _: &Host) -> Option<Finding> {
    let then = "the programs end with \"No such file or directory\": install the package that has it";
    missing("missing-loader", &survey.elf.missing_loaders, "loader", then)
}

fn missing_libraries(survey: &Survey, _: &Host) -> Option<Finding> {
    let then = "programs that want one do not start, unless they bring it in a place of their own; of plugins that is usual";
    let found = missing("missing-library", &survey.elf.missing, "library", then)?;
    // Of so many that not all are kept, some are programs.
    let few = &survey.elf.missing;
    let plugins_alone =
        few.count == few.examples.len() as u64 && few.examples.iter().all(|missing| missing.programs == 0);
    Some(Finding { weight: if plugins_alone { Weight::Note } else { found.weight }, ..found })
}

fn missing(id: &str, few: &Few<Missing>, what: &str, then: &str) -> Option<Finding> {
    let plural = if what == "library" { "libraries are" } else { "loaders are" };
    let what = match few.count {
        0 => return None,
        1 => format!("a {what} is wanted that is not there"),
        count => format!("{count} {plural} wanted that are not there"),
    };
    let evidence = few.examples.iter().map(|missing| format!("{}, by {}", missing.name, missing.example));
    Some(finding(id, Weight::Warning, what, then).by(evidence))
}

fn packed(survey: &Survey, _: &Host) -> Option<Finding> {
    let packed = &survey.elf.packed;
    let what = format!("{} packed (UPX): what they want cannot be seen", are(packed.count));
    let then = "if they do not start, that is where to look";
    (packed.count > 0)
        .then(|| finding("packed", Weight::Note, what, then).by(packed.examples.iter().cloned()))
}

fn damaged(survey: &Survey, _: &Host) -> Option<Finding> {
    let damaged = &survey.elf.damaged;
    let what = format!("{} damaged as ELF files are", are(damaged.count));
    let then = "the kernel would refuse them: was the root copied whole?";
    (damaged.count > 0)
        .then(|| finding("damaged", Weight::Warning, what, then).by(damaged.examples.iter().cloned()))
}

fn unfinished(survey: &Survey, _: &Host) -> Option<Finding> {
    let why = survey.cut_short.as_ref()?;
    let what = format!("not all of it was looked at: {why}");
    Some(finding("unfinished", Weight::Warning, what, "what is said here is of the part that was looked at"))
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}

fn are(count: u64) -> String {
    if count == 1 { "1 program is".into() } else { format!("{count} programs are") }
}
