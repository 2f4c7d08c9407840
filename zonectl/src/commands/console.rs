//! `zonectl console`.

use std::io::{IsTerminal, stdin};

use anyhow::Result;
use zoned_api::Method;

use super::App;
use crate::{cli, daemon, session};

/// Attach to a zone's console, or print what it has said
#[derive(clap::Args, Debug)]
#[command(
    after_help = "~. at the start of a line detaches; the zone goes on. ~~ sends one ~. Without a terminal on stdin: the kept part is \
                        printed, what comes from stdin is typed, and when that has ended and the console has been silent \
                        for a second (it is given five), so has this.\n\n\
                        Examples:\n  zonectl console web\n  zonectl console web --log | tail\n  zonectl console web --follow > web.log"
)]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// Print the kept part of what the console printed, and end
    #[arg(long, short)]
    log: bool,
    /// Print the kept part, then what comes, until interrupted; nothing is typed
    #[arg(long, short, conflicts_with = "log")]
    follow: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    if stdin().is_terminal() && !args.log && !args.follow {
        return session::console(&mut client, &args.zone).await;
    }
    // Attached before the log is read: what comes between the two shows twice rather than never.
    let attached =
        if args.log { None } else { Some(session::console_socket(&mut client, &args.zone).await?) };
    app.out.foreign(&daemon::text(&mut client, Method::ConsoleLog { zone: args.zone }).await?)?;
    match attached {
        Some(socket) => session::console_streamed(socket, args.follow).await,
        None => Ok(0),
    }
}
