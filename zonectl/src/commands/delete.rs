//! `zonectl delete`.

use anyhow::Result;
use zoned_api::{Method, Verb};

use super::App;
use crate::{
    cli, daemon,
    output::{confirm::confirm, progress::Progress},
};

/// Forget a zone
#[derive(clap::Args, Debug)]
#[command(after_help = "A zone with a root must be uninstalled first.\n\n\
                        Example: zonectl uninstall web --force && zonectl delete web --force")]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let info = daemon::info(&mut client, &args.zone).await?;
    let name = info.zone.to_string();
    let doing = format!("deleting zone {name}");
    if !confirm(args.force, &doing, "its configuration and the log of its console are lost.")? {
        app.out.aside("nothing was changed");
        return Ok(1);
    }
    // By the UUID as well: the name may have been given to another zone while the question stood.
    let method = Method::Do { zone: name.clone(), verb: Verb::Delete, uuid: Some(info.uuid) };
    let outcome = daemon::follow(&mut client, method, &mut Progress::new(&app.out, &name, false)).await?;
    app.report(&name, &outcome, "deleted");
    Ok(0)
}
