//! `zoned`, the zones daemon.

use std::process::ExitCode;

use zoned::{
    daemon,
    options::{Command, Gathered, TellError, gather},
};

fn main() -> ExitCode {
    let Gathered { options, file, counting, overruled } = match gather(std::env::args_os()) {
        Ok(gathered) => gathered,
        Err(TellError::Usage(e)) => e.exit(),
        Err(e) => {
            eprintln!("zoned: {}", zoned::fault::whole(&e));
            return ExitCode::from(2);
        }
    };
    // Before any thread exists: a worker enters namespaces and drops privileges, which only a single-threaded
    // process can do as a whole.
    if let Some(Command::Worker { task }) = options.command {
        return zoned::image::worker::main(&task);
    }
    if let Err(e) = daemon::log::start(&options.log) {
        eprintln!("zoned: {e}");
        return ExitCode::from(2);
    }
    if !counting.is_empty() || !overruled.is_empty() {
        let list = |keys: Vec<String>| keys.join(", ");
        tracing::info!(says = list(counting), overruled = list(overruled), "{}: read", file.display());
    }
    match daemon::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{}", zoned::fault::whole(&e));
            ExitCode::FAILURE
        }
    }
}
