//! `zonectl uninstall`.

use anyhow::Result;
use zoned_api::{State, Verb};

use super::{App, losing};

/// Take the roots and data of zones away; their configurations stay
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Also the way out of `incomplete`, after an install that was interrupted. What has no root is not asked about.\n\n\
                        Example: zonectl uninstall web --force"
)]
pub(crate) struct Args {
    #[command(flatten)]
    zones: losing::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let lost = "all that was written there is lost; the configuration stays.";
    losing::run(app, args.zones, Verb::Uninstall, |info| info.state != State::Configured, lost).await
}
