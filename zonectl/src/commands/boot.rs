//! `zonectl boot`.

use anyhow::Result;
use zoned_api::Verb;

use super::{App, several};

/// Start zones
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  zonectl boot web db\n  zonectl boot --all")]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    several::run(app, &args.zones, Verb::Boot).await
}
