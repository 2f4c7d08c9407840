//! `zonectl export`.

use anyhow::{Context, Result};
use zoned_api::Method;

use super::App;
use crate::{cli, daemon};

/// Print a zone's configuration as it was written
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl export web -f web.yaml")]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// Write it there instead of to stdout
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let text = daemon::text(&mut client, Method::Export { zone: args.zone }).await?;
    match args.file.as_deref() {
        None | Some("-") => app.out.foreign(&text)?,
        Some(file) => std::fs::write(file, text).with_context(|| file.to_owned())?,
    }
    Ok(0)
}
