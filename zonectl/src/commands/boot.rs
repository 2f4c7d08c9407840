//! `zonectl boot`.

use anyhow::Result;
use zoned_api::{Method, State, Verb};

use super::{App, several};

/// Start zones
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  zonectl boot web db\n  zonectl boot --all")]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let states = [State::Installed, State::Ready];
    // One after the other: the order of the names is the order of the boots.
    several::run(app, &args.zones, &states, 1, |zone| Method::Do { zone, verb: Verb::Boot, uuid: None }).await
}
