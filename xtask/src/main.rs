//! `cargo xtask VERB`: everything a person does with this repository besides plain cargo.
//!
//! One verb a file. Each verb that needs something on the machine calls [`setup`] first, so that the two commands
//! of the README work on a machine where nothing has been installed by hand. This crate itself depends on no
//! native library: it has to compile there.

#![expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]

mod ebpf;
mod toolchain;
mod workspace;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the eBPF programs into target/ebpf/zone-ebpf.o
    Ebpf(ebpf::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Ebpf(args) => ebpf::run(&args),
    }
}
