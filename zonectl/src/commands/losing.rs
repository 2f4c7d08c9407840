//! Verbs after which something is gone for good: they ask first, where there is something to lose.

use anyhow::Result;
use clap::Args;
use zoned_api::{Method, State, Verb, ZoneInfo};

use super::{App, attend::listed, several};
use crate::{cli, daemon, output::confirm::confirm};

/// The zones meant. There is no `--all`.
#[derive(Args, Debug)]
pub(crate) struct Zones {
    /// Name or UUID of a zone
    #[arg(value_name = "ZONE", value_parser = cli::zone, required = true)]
    zones: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
}

/// Asks once for all, then carries the verb out; `loses` tells whether a zone loses anything, `lost` what.
pub(crate) async fn run(
    app: &App,
    args: Zones,
    verb: Verb,
    loses: fn(&ZoneInfo) -> bool,
    lost: &str,
) -> Result<u8> {
    let mut client = app.connect().await?;
    let (mut asked, mut at_stake, mut failed) = (Vec::new(), Vec::new(), 0);
    for zone in &args.zones {
        let info = match daemon::info(&mut client, zone).await {
            Ok(info) => info,
            Err(error) => {
                app.out.error(&error);
                failed = 1;
                continue;
            }
        };
        let name = info.zone.to_string();
        // Of one that runs the daemon says what is to be done first.
        let at_rest = matches!(info.state, State::Configured | State::Installed | State::Incomplete);
        if at_rest && loses(&info) {
            at_stake.push(name.clone());
        }
        // By the UUID as well: the name may have been given to another zone while the question stood.
        let method = Method::Do { zone: name.clone(), verb, uuid: Some(info.uuid) };
        asked.push((name, method));
    }
    if !at_stake.is_empty() && !confirm(args.force, &format!("{verb} of {}", listed(&at_stake)), lost)? {
        app.out.aside("nothing was changed");
        return Ok(1);
    }
    Ok(several::each(app, client, verb, asked).await?.max(failed))
}
