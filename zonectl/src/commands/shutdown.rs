//! `zonectl shutdown`.

use anyhow::Result;
use zoned_api::{Method, Verb};

use super::{App, several};

/// Ask the init of zones to stop; halt them if it has not in time
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  zonectl shutdown web --timeout 20\n  zonectl shutdown --reboot web")]
pub(crate) struct Args {
    #[command(flatten)]
    zones: several::Zones,
    /// Seconds to wait before a zone is halted; what its brand says if not given
    #[arg(long, short, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Boot again afterwards
    #[arg(long, short)]
    reboot: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let (timeout, reboot) = (args.timeout, args.reboot);
    several::run_as(app, &args.zones, Verb::Shutdown, |zone| Method::Shutdown { zone, timeout, reboot }).await
}
