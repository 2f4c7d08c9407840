//! `zonectl halt`.

use anyhow::Result;
use zoned_api::Verb;

use super::{App, several};

/// Stop zones at once, without asking their init
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Everything in the zone is killed; `shutdown` is the clean way. On a zone that is `down` the tear-down is tried again.\n\nExample: zonectl halt web"
)]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    several::run(app, &args.zones, Verb::Halt).await
}
