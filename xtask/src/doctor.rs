//! `cargo xtask doctor`: what this machine has for building, testing and measuring, and what that means.
//!
//! It changes nothing. What the kernel offers to zones is `zonectl doctor`'s.

use crate::{
    packages::{self, Group},
    setup,
    toolchain::{self, OLDEST_LINKER},
    workspace,
};
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    /// Less than could be, and nothing depends on it.
    Note,
    Missing,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: State,
    found: String,
    means: &'static str,
}

/// What can be done here as things are.
#[derive(Debug, Serialize)]
struct Verdict {
    build: bool,
    ebpf: bool,
    test: bool,
    bench: bool,
    vm: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    verdict: Verdict,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let report = examine();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn examine() -> Report {
    let (mut findings, toolchain) = toolchains();
    let (finding, linker) = linker();
    findings.push(finding);
    let mut group = |group, what, means| {
        let (finding, there) = group_of_packages(group, what, means);
        findings.push(finding);
        there
    };
    let build =
        group(Group::Build, "packages to build with", "zoned, zone-monitor and zonectl compile and link");
    let run = group(Group::Run, "packages the daemon uses", "roots of Debian suites can be made");
    group(Group::Demo, "packages to demonstrate with", "`demo` can show a network");
    let test =
        group(Group::Test, "packages to test with", "every integration test has what it looks through");
    let bench = group(Group::Bench, "packages to bench with", "`bench boot` has its peers");
    let vm = group(Group::Vm, "packages for virtual machines", "`vm` boots other kernels");
    findings.extend([component("fmt", "rustfmt"), component("clippy", "clippy"), root()]);
    let ebpf = toolchain && linker;
    let runs = build && ebpf && run && setup::is_root();
    Report {
        findings,
        verdict: Verdict { build, ebpf, test: runs && test, bench: runs && bench, vm: build && ebpf && vm },
    }
}

fn toolchains() -> (Vec<Finding>, bool) {
    let all = toolchain::all();
    let fit = all.iter().position(|toolchain| toolchain.unfit.is_none());
    let findings = all.iter().enumerate().map(|(index, toolchain)| {
        let (state, found, means) = match &toolchain.unfit {
            None if fit == Some(index) => {
                (State::Good, "has all that is needed".into(), "builds the eBPF programs")
            }
            None => (State::Good, "has all that is needed".into(), "would do; another is preferred"),
            Some(why) => (State::Note, why.clone(), "builds the host's binaries only"),
        };
        Finding { what: format!("{}, rustc {}", toolchain.name, toolchain.version), state, found, means }
    });
    let mut findings: Vec<_> = findings.collect();
    if fit.is_none() {
        let found = "no toolchain here has what is needed".into();
        let means = "`cargo xtask setup` installs Debian's rustc-web";
        findings.push(Finding { what: "eBPF toolchain".into(), state: State::Missing, found, means });
    }
    (findings, fit.is_some())
}

fn linker() -> (Finding, bool) {
    let (state, found, means) = match toolchain::linker() {
        Some((path, version)) if version >= OLDEST_LINKER => {
            (State::Good, format!("{version} at {}", path.display()), "links the eBPF programs")
        }
        Some((path, version)) => (
            State::Missing,
            format!("{version} at {} is too old", path.display()),
            "`cargo xtask setup` replaces it",
        ),
        None => (State::Missing, "not installed, or it does not run".into(), "`cargo xtask setup` builds it"),
    };
    (Finding { what: "bpf-linker".into(), state, found, means }, state == State::Good)
}

fn group_of_packages(group: Group, what: &str, means: &'static str) -> (Finding, bool) {
    let names = |packages: &[packages::Package]| {
        packages.iter().map(|package| package.name).collect::<Vec<_>>().join(", ")
    };
    let (state, found, means) = match packages::missing(group.packages()) {
        Ok(missing) if missing.is_empty() => (State::Good, names(group.packages()), means),
        Ok(missing) => {
            (State::Missing, format!("lacking: {}", names(&missing)), "`cargo xtask setup` installs them")
        }
        Err(error) => (State::Missing, format!("{error:#}"), "install their like by hand"),
    };
    (Finding { what: what.into(), state, found, means }, state == State::Good)
}

fn component(verb: &str, name: &str) -> Finding {
    let there =
        workspace::cargo().args([verb, "--version"]).output().is_ok_and(|output| output.status.success());
    let (state, found, means) = match there {
        true => (State::Good, "installed", "`cargo xtask lint` works"),
        false => (State::Missing, "not installed", "`cargo xtask lint` needs it: rustup component add"),
    };
    Finding { what: name.into(), state, found: found.into(), means }
}

fn root() -> Finding {
    let (state, found, means) = match setup::is_root() {
        true => (State::Good, "this is root", "packages can be installed and integration tests run"),
        false => {
            (State::Note, "this is not root", "no packages can be installed, integration tests are skipped")
        }
    };
    Finding { what: "user".into(), state, found: found.into(), means }
}

fn print(report: &Report) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["", "WHAT", "FOUND", "WHAT IT MEANS"]);
    for finding in &report.findings {
        let mark = match finding.state {
            State::Good => "ok",
            State::Note => "-",
            State::Missing => "no",
        };
        table.add_row([mark, &finding.what, &finding.found, finding.means]);
    }
    println!("{table}\n");
    let Verdict { build, ebpf, test, bench, vm } = report.verdict;
    for (able, what) in [
        (build, "compile the host's binaries"),
        (ebpf, "build the eBPF programs"),
        (test, "run every test"),
        (bench, "measure against the peers"),
        (vm, "run tests on other kernels"),
    ] {
        println!("{} {what}", if able { "can   " } else { "cannot" });
    }
    if !(build && ebpf && test && bench && vm) {
        println!("\n`cargo xtask setup`, as root, installs what is missing");
    }
}
