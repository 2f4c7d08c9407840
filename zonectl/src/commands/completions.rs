//! `zonectl completions`.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::App;
use crate::cli::Cli;

/// Print completions for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl completions bash > /etc/bash_completion.d/zonectl")]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "zonectl", &mut script);
    app.out.data(&String::from_utf8(script)?)?;
    Ok(0)
}
