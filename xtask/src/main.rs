//! `cargo xtask VERB`: everything a person does with this repository besides plain cargo.
//!
//! One verb a file. Each verb that needs something on the machine calls [`setup`] first, so that the two commands
//! of the README work on a machine where nothing has been installed by hand. This crate itself depends on no
//! native library: it has to compile there.

#![expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]

mod bench;
mod build;
mod daemon;
mod demo;
mod deny;
mod doctor;
mod ebpf;
mod lint;
mod netns;
mod packages;
mod progress;
mod setup;
mod stages;
mod svg;
mod tally;
mod test;
mod toolchain;
mod vm;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing on this machine
    Setup(setup::Args),
    /// Say what this machine has for building, and what that means
    Doctor(doctor::Args),
    /// Build the eBPF programs into target/ebpf/zone-ebpf.o
    Ebpf(ebpf::Args),
    /// Build zoned, zone-monitor and zonectl
    Build(build::Args),
    /// Run the unit tests and the integration tests
    Test(test::Args),
    /// Run commands and tests on another kernel, in a virtual machine
    Vm(vm::Args),
    /// Check formatting and run clippy, the eBPF programs included
    Lint,
    /// Check dependencies: bans, licences, sources
    Deny,
    /// Boot three zones, look, measure, kill the daemon, connect them, remove everything
    Demo,
    /// Measure against peers
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Ebpf(args) => ebpf::run(&args),
        Verb::Build(args) => build::run(&args),
        Verb::Test(args) => test::run(&args),
        // A command's status is passed on.
        Verb::Vm(args) => return vm::run(args),
        Verb::Lint => lint::run(),
        Verb::Deny => deny::run(),
        Verb::Demo => demo::run(),
        Verb::Bench(args) => bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
