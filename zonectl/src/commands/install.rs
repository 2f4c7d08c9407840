//! `zonectl install`.

use anyhow::Result;
use zoned_api::{Method, Verb};

use super::{App, attend::Attend, create::absolute_image};
use crate::{cli, daemon, output::progress::Progress};

/// Give a zone its root
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Sources: debian:SUITE (bootstrapped), tar:FILE (plain, gzip, xz, zstd), dir:PATH (copied).\n\
                        A source is unpacked once and shared by all zones that use it.\n\n\
                        Example: zonectl install web --from debian:bookworm"
)]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// Source of the root instead of the configured one, which it replaces
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let from = args.from.as_deref().map(absolute_image).transpose()?;
    let mut client = app.connect().await?;
    let method = Method::Install { zone: args.zone.clone(), from };
    let attend = Attend::watch(Verb::Install, [args.zone.clone()].into_iter())?;
    attend.begins(&args.zone);
    let mut progress = Progress::new(&app.out, &args.zone, true);
    let outcome = attend.until(daemon::follow(&mut client, method, &mut progress)).await??;
    drop(progress);
    app.report(&args.zone, &outcome, "deleted");
    Ok(0)
}
