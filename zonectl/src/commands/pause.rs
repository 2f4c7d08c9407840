//! `zonectl pause`.

use anyhow::Result;
use zoned_api::{Method, State, Verb};

use super::{App, several};

/// Freeze every process of zones
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl pause web && zonectl resume web")]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let states = [State::Running];
    several::run(app, &args.zones, &states, several::AT_ONCE, |zone| Method::Do {
        zone,
        verb: Verb::Pause,
        uuid: None,
    })
    .await
}
