//! `zonectl reboot`.

use anyhow::Result;
use zoned_api::Verb;

use super::{App, several};

/// Stop zones at once and start them again
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Everything in the zone is killed first; `shutdown --reboot` is the clean way.\n\nExample: zonectl reboot web"
)]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    several::run(app, &args.zones, Verb::Reboot).await
}
