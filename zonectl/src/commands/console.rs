//! `zonectl console`.

use anyhow::Result;
use zoned_api::Method;

use super::App;
use crate::{cli, daemon, session};

/// Attach to a zone's console, or print what it has said
#[derive(clap::Args, Debug)]
#[command(after_help = "~. at the start of a line detaches; the zone goes on. ~~ sends one ~.\n\n\
                        Examples:\n  zonectl console web\n  zonectl console web --log | tail")]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// Print the kept part of what the console printed, and end
    #[arg(long, short)]
    log: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    if args.log {
        app.out.foreign(&daemon::text(&mut client, Method::ConsoleLog { zone: args.zone }).await?)?;
        return Ok(0);
    }
    session::console(&mut client, &args.zone).await
}
