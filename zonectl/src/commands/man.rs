//! `zonectl man`.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, Command, CommandFactory};

use super::App;
use crate::{cli::Cli, output::failure::hinted};

/// Write the manual pages, one a verb
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl man /usr/local/share/man/man1 && man zonectl-boot")]
pub(crate) struct Args {
    /// Folder to write them to; made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let dir = args.dir.display();
    let pages = pages();
    if let Some(verb) = args.dir.to_str().filter(|word| pages.find_subcommand(word).is_some()) {
        return Err(hinted(
            format!("{verb}: is a verb; a folder to write the manual pages to is wanted"),
            format!("`zonectl help {verb}` explains the verb; a folder of that name is written ./{verb}"),
        ));
    }
    fs::create_dir_all(&args.dir).with_context(|| dir.to_string())?;
    clap_mangen::generate_to(pages, &args.dir).with_context(|| dir.to_string())?;
    app.out.notice(&format!("{dir}: manual pages written"));
    Ok(0)
}

/// The command with the synopsis of each verb written out: clap_mangen leaves the names of values away.
fn pages() -> Command {
    let mut command = Cli::command();
    command.build();
    let verbs: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    verbs.into_iter().fold(command, |command, verb| command.mut_subcommand(verb, with_usage))
}

fn with_usage(verb: Command) -> Command {
    let seen = |arg: &&Arg| !arg.is_hide_set() && !arg.is_global_set() && arg.get_id() != "help";
    let (values, options): (Vec<_>, Vec<_>) =
        verb.get_arguments().filter(seen).partition(|arg| arg.is_positional());
    let words = options.into_iter().map(option).chain(values.into_iter().map(value));
    let usage = format!("zonectl {} {}", verb.get_name(), words.collect::<Vec<_>>().join(" "));
    verb.override_usage(usage.trim_end().to_owned())
}

/// `[-f|--file FILE]`, with dots where it may stand more than once.
fn option(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let name = [short, long].into_iter().flatten().collect::<Vec<_>>().join("|");
    let value = match arg.get_action() {
        ArgAction::Set | ArgAction::Append => format!(" {}", names(arg)),
        _ => String::new(),
    };
    let more = if matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" };
    format!("[{name}{value}]{more}")
}

fn value(arg: &Arg) -> String {
    let most = arg.get_num_args().map_or(1, |range| range.max_values());
    let more = if most > 1 || matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" };
    if arg.is_required_set() { format!("{}{more}", names(arg)) } else { format!("[{}]{more}", names(arg)) }
}

fn names(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synopsis_names_the_values() {
        let command = pages();
        let usage = |verb: &str| command.find_subcommand(verb).unwrap().clone().render_usage().to_string();
        assert_eq!(usage("export"), "Usage: zonectl export [-f|--file FILE] ZONE");
        assert!(usage("create").contains("[--set KEY=VALUE]..."), "{}", usage("create"));
        assert!(usage("delete").ends_with("[-f|--force] ZONE..."), "{}", usage("delete"));
    }
}
