//! `zonectl version`.

use anyhow::Result;
use zoned_api::{API_VERSION, Method, Reply, client::Client};

use super::App;
use crate::{daemon, output::escape};

/// Print the versions of zonectl and zoned
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit status 1 if zoned does not answer.\n\nExample: zonectl version")]
pub(crate) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let own = env!("CARGO_PKG_VERSION");
    // Not App::connect: a daemon that is too old is to be told of, not refused.
    let asked = async { Ok(Client::connect(&app.socket).await?.call(Method::Version {}).await?) };
    let answer: Result<Reply> = asked.await;
    let found = match answer {
        Ok(Reply::Version { daemon, api }) => Ok((daemon, api)),
        Ok(other) => Err(daemon::unexpected(&other)),
        Err(error) => Err(error),
    };
    if args.json {
        let zoned =
            found.as_ref().ok().map(|(version, api)| serde_json::json!({ "version": version, "api": api }));
        app.out.json(
            &serde_json::json!({ "zonectl": { "version": own, "api": API_VERSION }, "zoned": zoned }),
        )?;
    } else {
        app.out.data(&format!("zonectl {own} (API {API_VERSION})"))?;
        if let Ok((version, api)) = &found {
            app.out.data(&format!("zoned {} (API {api})", escape::line(version)))?;
        }
    }
    found.map(|_| 0)
}
