//! `zonectl boot`.

use anyhow::Result;
use zoned_api::Verb;

use super::{App, online, several};

/// Start zones
#[derive(clap::Args, Debug)]
#[command(
    after_help = "When a zone is online is said by `online` of its configuration. A zone that is not in time runs on, and to ask again is to wait on.\n\n\
                        Examples:\n  zonectl boot web db\n  zonectl boot --all\n  zonectl boot --wait --timeout 30 web"
)]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
    #[command(flatten)]
    online: online::Patience,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    online::run(app, &args.zones, Verb::Boot, &args.online).await
}
