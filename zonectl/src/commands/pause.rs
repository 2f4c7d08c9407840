//! `zonectl pause`.

use anyhow::Result;
use zoned_api::Verb;

use super::{App, several};

/// Freeze every process of zones
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl pause web && zonectl resume web")]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    several::run(app, &args.zones, Verb::Pause).await
}
