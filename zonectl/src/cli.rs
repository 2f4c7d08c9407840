//! Arguments, their help, and errors in them.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, ValueEnum, error::ErrorKind};
use zoned_api::ZoneName;

use crate::{commands::Command, output::escape};

/// Zones: named, persistent, administered userlands of their own.
#[derive(Debug, Parser)]
#[command(
    name = "zonectl",
    version,
    propagate_version = false,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    after_help = "A first zone, sharing the host's /usr:\n  \
                  zonectl create web && zonectl install web && zonectl boot web && zonectl login web\n\n\
                  `zonectl help VERB` explains a verb with an example."
)]
pub(crate) struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The verb.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every verb.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where zoned listens
    #[arg(long, global = true, env = "ZONED_SOCKET", value_name = "PATH", default_value = zoned_api::DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Say nothing but what was asked for and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Also into a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// Parses the command line; help, version and errors are printed here.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        if !error.use_stderr() {
            // Nothing is to be done if nobody reads the help.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let _ = std::io::stderr().lock().write_all(complaint(&error).as_bytes());
        ExitCode::from(2)
    })
}

/// A usage error in zonectl's voice. Arguments may come from anywhere, so it is escaped as anything else.
fn complaint(error: &clap::Error) -> String {
    let text = escape::text(&error.render().to_string());
    match (error.kind(), text.strip_prefix("error: ")) {
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) | (_, None) => text,
        (_, Some(rest)) => format!("zonectl: {rest}"),
    }
}

/// A zone's name or UUID (which has the form of a name).
pub(crate) fn zone(text: &str) -> Result<String, String> {
    text.parse::<ZoneName>().map(String::from).map_err(|e| e.to_string())
}

/// As [`zone`], or `global`, which is the host.
pub(crate) fn zone_or_global(text: &str) -> Result<String, String> {
    if text == "global" { Ok(text.to_owned()) } else { zone(text) }
}

/// `key=value`; an empty value is none.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write key=value, like autoboot=true or process.init=none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refused(args: &[&str]) -> String {
        complaint(&Cli::try_parse_from([&["zonectl"], args].concat()).unwrap_err())
    }

    #[test]
    fn the_definition_holds_together_and_every_verb_has_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let example = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains(&format!("zonectl {}", verb.get_name())), "{}", verb.get_name());
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
        }
    }

    #[test]
    fn bad_names_are_refused_for_their_reason() {
        for (name, why) in [
            ("a/b", "cannot contain '/'"),
            ("..", "begins with a letter or digit"),
            ("global", "reserved"),
            (&"x".repeat(4000), "too long"),
        ] {
            let text = refused(&["boot", name]);
            assert!(text.starts_with("zonectl: ") && text.contains(why), "{text}");
        }
        let steering = refused(&["boot", "a\x1b[2J"]);
        assert!(!steering.contains('\x1b') && steering.contains("\\u{1b}"), "{steering}");
    }

    #[test]
    fn pairs_need_a_key() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=a").is_err() && key_value("a").is_err());
    }
}
