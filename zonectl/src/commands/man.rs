//! `zonectl man`.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::CommandFactory;

use super::App;
use crate::cli::Cli;

/// Write the manual pages, one a verb
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl man /usr/local/share/man/man1 && man zonectl-boot")]
pub(crate) struct Args {
    /// Folder to write them to; made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(app: &App, args: Args) -> Result<u8> {
    let dir = args.dir.display();
    fs::create_dir_all(&args.dir).with_context(|| dir.to_string())?;
    clap_mangen::generate_to(Cli::command(), &args.dir).with_context(|| dir.to_string())?;
    app.out.notice(&format!("{dir}: manual pages written"));
    Ok(0)
}
