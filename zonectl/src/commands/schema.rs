//! `zonectl schema`.

use anyhow::Result;
use zoned_api::ZoneConfig;

use super::App;

/// Print the JSON Schema of a zone's configuration
#[derive(clap::Args, Debug)]
#[command(
    after_help = "For editors (yaml-language-server) and for reading: each key with its form and meaning.\n\n\
                        Example: zonectl schema > zone.schema.json"
)]
pub(crate) struct Args {}

pub(crate) async fn run(app: &App, _: Args) -> Result<u8> {
    app.out.json(&ZoneConfig::schema())?;
    Ok(0)
}
