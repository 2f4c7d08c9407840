//! Arguments, their help, and errors in them.

use std::{collections::BTreeMap, ffi::OsString, io::Write, path::PathBuf, process::ExitCode};

use clap::{
    Args, FromArgMatches, Parser, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};
use zoned_api::ZoneName;

use crate::{
    commands::{self, Command},
    foreign,
    output::{Out, escape, failure},
};

/// Zones: named, persistent, administered userlands of their own.
#[derive(Debug, Parser)]
#[command(
    name = "zonectl",
    version,
    arg_required_else_help = true,
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
    /// Where zoned listens [default: $ZONED_SOCKET or /run/zoned/zoned.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Say nothing but what was asked for and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

impl Global {
    /// Where zoned listens. (The variable is not clap's to read: usage errors would show it as an option given.)
    pub(crate) fn socket(&self) -> PathBuf {
        let set = || std::env::var_os("ZONED_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
        self.socket.clone().or_else(set).unwrap_or_else(|| zoned_api::DEFAULT_SOCKET.into())
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// Parses the command line; help, version and errors are printed here.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(cli) = by_its_verb(&arguments) {
        return Ok(cli);
    }
    Cli::try_parse_from(arguments).map_err(|error| {
        if !error.use_stderr() {
            return print(&error);
        }
        let _ = std::io::stderr().lock().write_all(complaint(&error).as_bytes());
        ExitCode::from(2)
    })
}

/// Parses a command line that begins with a verb and has nothing wrong, by the definition of that verb alone. Anything
/// else is for the whole definition, which knows what to say.
fn by_its_verb(arguments: &[OsString]) -> Option<Cli> {
    let verb = commands::definition(arguments.get(1)?.to_str()?)?;
    let command = Global::augment_args(clap::Command::new("zonectl")).subcommand(verb);
    Cli::from_arg_matches(&command.try_get_matches_from(arguments).ok()?).ok()
}

/// Prints help or version.
fn print(text: &clap::Error) -> ExitCode {
    let out = Out::new(Color::Auto, false);
    let text = text.render();
    let printed = if out.colour { out.data(&text.ansi().to_string()) } else { out.data(&text.to_string()) };
    printed.map_or_else(|error| failure::exit(&error, 1), |()| ExitCode::SUCCESS)
}

/// A usage error in zonectl's voice. Arguments may come from anywhere, so it is escaped as anything else.
fn complaint(error: &clap::Error) -> String {
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
        && let Some(advice) = foreign::advice(word)
    {
        return failure::render(&failure::hinted(format!("no verb `{word}`"), advice));
    }
    let text = escape::text(&error.render().to_string());
    let Some(rest) = text.strip_prefix("error: ") else {
        // The help, for want of arguments.
        return text;
    };
    let rest = match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => rest.replace("subcommand", "verb"),
        _ => rest.to_owned(),
    };
    let lines: Vec<_> = rest.lines().map(shortened).collect();
    format!("zonectl: {}\n", lines.join("\n"))
}

/// A line that repeats an argument of any length, without the middle of it: what is wrong stands at the end.
fn shortened(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    if chars.len() <= 400 {
        return line.to_owned();
    }
    let (head, tail) = (&chars[..100], &chars[chars.len() - 200..]);
    head.iter().chain(&['…']).chain(tail).collect()
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

/// Keys with their values; each key once, as in a configuration.
pub(crate) fn values(given: &[(String, String)]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (key, value) in given {
        if let Some(before) = all.insert(key.clone(), value.clone()) {
            return Err(crate::output::failure::hinted(
                format!("{key} is given twice, as {before:?} and {value:?}"),
                "give each key once",
            ));
        }
    }
    Ok(all)
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
    fn a_verb_alone_is_what_it_is_among_all() {
        let parsed = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            (by_its_verb(&words), Cli::try_parse_from(&words))
        };
        for line in [
            "zonectl boot web db",
            "zonectl list --json --quiet",
            "zonectl exec -T --socket /s web -- ls --help -l",
            "zonectl set web cpu.shares=3 --color never",
        ] {
            let (alone, among) = parsed(line);
            assert_eq!(format!("{:?}", alone.unwrap()), format!("{:?}", among.unwrap()), "{line}");
        }
        for line in
            ["zonectl boot --help", "zonectl boot", "zonectl boott web", "zonectl --quiet list", "zonectl"]
        {
            assert!(parsed(line).0.is_none(), "{line}");
        }
        let all = Cli::command();
        for verb in all.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let alone = commands::definition(verb.get_name()).unwrap();
            let ids = |command: &clap::Command| -> Vec<_> {
                command.get_arguments().map(|argument| argument.get_id().clone()).collect()
            };
            assert_eq!(ids(&alone), ids(verb), "{}", verb.get_name());
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
            assert!(text.starts_with("zonectl: ") && text.len() < 600, "{text}");
            assert!(text.contains(why), "{text}");
        }
        let steering = refused(&["boot", "a\x1b[2J"]);
        assert!(!steering.contains('\x1b') && steering.contains("\\u{1b}"), "{steering}");
    }

    #[test]
    fn verbs_of_other_tools_are_answered_by_ours() {
        assert_eq!(
            refused(&["start", "web"]),
            "zonectl: no verb `start`\n  try: `zonectl boot ZONE` starts a zone\n"
        );
        assert!(refused(&["boott", "web"]).contains("similar verbs exist: "));
    }

    #[test]
    fn pairs_need_a_key() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=a").is_err() && key_value("a").is_err());
    }
}
