//! `zonectl`: the command line of zoned.
//!
//! A client and nothing more: it asks the daemon over its socket (`zoned_api`), shows the answer, and carries
//! the streams of `exec`, `login`, `console` and `cp`. It owns the caller's terminal while a session lasts, and
//! never touches a zone, a cgroup or a mount itself.
//!
//! ```text
//! main ─▶ cli (arguments) ─▶ commands/<verb> ─▶ daemon (calls) ─▶ output (table, JSON, progress, errors)
//!                                    ├─▶ session   streams, terminal, signals of exec, login, console
//!                                    └─▶ transfer  tar streams of cp
//! ```
//! Exit status: 0 done, 1 failed, 2 wrong usage; `exec` and `login` pass on the command's, and use 125 for
//! failures of their own; 128 + N when signal N ended the waiting.

mod cli;
mod commands;
mod daemon;
mod figures;
mod foreign;
mod output;
mod session;
mod transfer;

use std::process::ExitCode;

use anyhow::Context;
use output::failure;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let failed = cli.command.failure_code();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime");
    let done = runtime.and_then(|runtime| {
        let done = runtime.block_on(commands::run(cli));
        // A thread may still wait for input that nobody will read.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(code) => code.into(),
        Err(error) => failure::exit(&error, failed),
    }
}
