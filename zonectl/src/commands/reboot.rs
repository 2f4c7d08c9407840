//! `zonectl reboot`.

use anyhow::Result;
use zoned_api::Verb;

use super::{App, online, several};

/// Stop zones at once and start them again
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Everything in the zone is killed first; `shutdown --reboot` is the clean way.\n\nExamples:\n  zonectl reboot web\n  zonectl reboot --wait web"
)]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
    #[command(flatten)]
    online: online::Patience,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    online::run(app, &args.zones, Verb::Reboot, &args.online).await
}
