//! `zonectl verify`.

use std::path::Path;

use anyhow::Result;
use zoned_api::{Method, ZoneConfig};

use super::{App, create::read_config};
use crate::{cli, daemon};

/// Check a configuration and print it with defaults filled in; nothing is changed
#[derive(clap::Args, Debug)]
#[command(
    after_help = "What has a / in it, ends in .yaml or .yml, or is `-` (stdin) is a file; anything else a zone.\n\n\
                        Examples:\n  zonectl verify ./web.yaml\n  zonectl verify web"
)]
pub(crate) struct Args {
    /// File with a configuration, or name of a zone
    #[arg(value_name = "FILE|ZONE")]
    what: String,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let from_file = is_file(&args.what);
    let (mut client, yaml) = if from_file {
        let yaml = read_config(&args.what)?;
        // First without the daemon, so that a fault in the text shows even while it does not run.
        ZoneConfig::parse(&yaml)?;
        (app.connect().await?, yaml)
    } else {
        let zone = cli::zone(&args.what).map_err(anyhow::Error::msg)?;
        let mut client = app.connect().await?;
        let yaml = daemon::text(&mut client, Method::Export { zone }).await?;
        (client, yaml)
    };
    app.out.foreign(&daemon::text(&mut client, Method::Verify { yaml }).await?)?;
    Ok(0)
}

/// Decided by the name alone, so that a file lying about cannot take the place of a zone.
fn is_file(what: &str) -> bool {
    let extension = Path::new(what).extension().and_then(|e| e.to_str());
    what == "-" || what.contains('/') || matches!(extension, Some("yaml" | "yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_files_from_zones() {
        assert!(["-", "./web", "/etc/web", "web.yaml", "a/b.yml"].into_iter().all(is_file));
        assert!(!["web", "web.example", "yaml"].into_iter().any(is_file));
    }
}
