//! `zonectl ready`.

use anyhow::Result;
use zoned_api::Verb;

use super::{App, several};

/// Set up the platform of zones without running anything in them
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Namespaces, mounts and cgroups are made and the first process stands before its exec; `boot` lets it go on.\n\nExample: zonectl ready web && zonectl info web"
)]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    several::run(app, &args.zones, Verb::Ready).await
}
