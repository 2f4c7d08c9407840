//! `zonectl login`.

use std::io::{IsTerminal, stdin};

use anyhow::Result;
use zoned_api::{ApiError, client::ClientError, session::ExecSpec};

use super::{App, exec};
use crate::{cli, output::failure::hinted};

/// Open a login shell in a running zone
#[derive(clap::Args, Debug)]
#[command(
    after_help = "~. at the start of a line detaches, and hangs the shell up. Without a terminal the shell reads commands from stdin. \
                        Exit status as of `exec`.\n\nExample: zonectl login web -u alice"
)]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// User inside the zone, by name or number [default: root]
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Of `exec`, where whoever gives it here is sent
    #[arg(value_name = "COMMAND", hide = true, trailing_var_arg = true)]
    command: Vec<String>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    if !args.command.is_empty() {
        let hint = format!("`zonectl exec {} -- {}` runs one", args.zone, args.command.join(" "));
        return Err(hinted("login opens a shell and takes no command", hint));
    }
    let spec = ExecSpec { user: args.user, tty: stdin().is_terminal(), ..ExecSpec::default() };
    exec::start(app, &args.zone, spec, false).await.map_err(as_login)
}

/// To the daemon a login is an exec; to whoever typed it, it is not.
fn as_login(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Api(ApiError::WrongState { zone, state, hint, .. })) => {
            hinted(format!("zone {zone}: cannot log in while it is {state}"), hint.as_str())
        }
        _ => error,
    }
}
