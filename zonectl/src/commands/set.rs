//! `zonectl set`.

use anyhow::Result;
use zoned_api::{Method, config::GLOBAL};

use super::App;
use crate::{cli, daemon};

/// Change single keys of a zone's configuration
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Keys are dotted paths, values YAML; an empty value takes the key away. Limits of a zone that runs \
                        change at once, all else counts from the next boot on. Of `global`, the host's own processes, \
                        cpu.shares alone can be set.\n\n\
                        Examples:\n  zonectl set web autoboot=true process.init=none\n  zonectl set web hostname=\n  \
                        zonectl set global cpu.shares=300\n  \
                        zonectl set web 'fs=[{ source: /srv/www, target: /var/www, options: [ro] }]'"
)]
pub(crate) struct Args {
    /// Name or UUID of the zone, or `global`
    #[arg(value_name = "ZONE", value_parser = cli::zone_or_global)]
    zone: String,
    /// What to what
    #[arg(value_name = "KEY=VALUE", value_parser = cli::key_value, required = true)]
    values: Vec<(String, String)>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let method = Method::Set { zone: args.zone.clone(), values: cli::values(&args.values)? };
    let outcome = daemon::done(&mut client, method).await?;
    if args.zone == GLOBAL {
        // It has no state to tell.
        app.out.notice(&format!("{GLOBAL}: {}", outcome.note.unwrap_or_default()));
    } else {
        app.report(&args.zone, &outcome, "deleted");
    }
    Ok(0)
}
