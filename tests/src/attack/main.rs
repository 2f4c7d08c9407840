//! `zone-attack [STANDING…] SCRIPT…`: makes attempts by raw system calls, each in a process of its own, and prints one
//! line for each: `ok RESULT`, `ERRNO CALL`, or how the process died.
//!
//! The tests run the same script where it must be refused and where it must not be, so that a script that is merely
//! wrong cannot pass for a refusal. It decides nothing itself.

mod script;
mod standing;
mod sys;

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use crate::{
    script::Script,
    standing::{Standing, within},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "zone-attack: {why:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let mut standings = Vec::new();
    while let Some(option) = args.next_if(|arg| arg.starts_with("--")) {
        standings.push(Standing::parse(&mut args, &option)?);
    }
    // All are read before the first is run.
    let scripts: Vec<Script> = args.map(|text| Script::parse(&text)).collect::<Result<_>>()?;
    for script in scripts {
        let line = within(&standings, || script.run())?;
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}
