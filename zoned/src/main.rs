//! `zoned`, the zones daemon.

use std::process::ExitCode;

use clap::Parser;
use zoned::{
    daemon,
    options::{Command, Options},
};

fn main() -> ExitCode {
    let options = Options::parse();
    // Before any thread exists: a worker enters namespaces and drops privileges, which only a single-threaded
    // process can do as a whole.
    if let Some(Command::Worker { task }) = options.command {
        return zoned::image::worker::main(&task);
    }
    if let Err(e) = daemon::log::start(&options.log) {
        eprintln!("zoned: {e}");
        return ExitCode::from(2);
    }
    match daemon::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{}", zoned::fault::whole(&e));
            ExitCode::FAILURE
        }
    }
}
