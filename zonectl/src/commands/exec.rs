//! `zonectl exec`.

use std::io::{IsTerminal, stdin, stdout};

use anyhow::Result;
use zoned_api::session::ExecSpec;

use super::App;
use crate::{cli, session};

/// Run a command in a running zone
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The command's exit status is passed on (128 + N if signal N ended it); 125: zonectl, zoned or the zone failed, \
                        126: not executable, 127: not found. SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed to the command. \
                        When it has ended, output of processes it left behind is awaited for 200 ms of silence.\n\
                        On a terminal, ~. at the start of a line detaches.\n\n\
                        Examples:\n  zonectl exec web -- apt-get update\n  zonectl exec web -u www-data -w /srv -e LANG=C -- ls -l\n  \
                        zonectl exec web -- tar c /etc > etc.tar"
)]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// User inside the zone, by name or number [default: root]
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Working directory inside the zone [default: /]
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// Set an environment variable; without a value, pass on the caller's
    #[arg(long, short, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, String)>,
    /// With a terminal; the default if stdin and stdout are one
    #[arg(long, short, conflicts_with_all = ["no_tty", "no_stdin"])]
    tty: bool,
    /// Without a terminal: streams only
    #[arg(long, short = 'T')]
    no_tty: bool,
    /// Taken for habit's sake: input is passed on anyway
    #[arg(long, short, conflicts_with = "no_stdin")]
    interactive: bool,
    /// With an empty input: nothing of the caller's is read (in a `while read` loop, say)
    #[arg(long, short)]
    no_stdin: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let both = stdin().is_terminal() && stdout().is_terminal();
    let tty = args.tty || (both && !args.no_tty && !args.no_stdin);
    let spec = ExecSpec {
        command: args.command,
        user: args.user,
        cwd: args.workdir,
        env: args.env.into_iter().collect(),
        tty,
        size: (0, 0),
    };
    start(app, &args.zone, spec, args.no_stdin).await
}

/// Runs a command with a terminal or without.
pub(crate) async fn start(app: &App, zone: &str, spec: ExecSpec, no_stdin: bool) -> Result<u8> {
    if spec.tty && !stdin().is_terminal() {
        return Err(crate::output::failure::hinted(
            "a terminal was asked for by -t, but stdin is none",
            "leave -t away to pass streams",
        ));
    }
    let mut client = app.connect().await?;
    if spec.tty {
        session::attached(&mut client, zone, spec).await
    } else {
        session::piped(&mut client, zone, spec, no_stdin).await
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("write NAME=VALUE".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => {
            let value = std::env::var(text).map_err(|e| format!("{text}: {e}"))?;
            Ok((text.to_owned(), value))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(words: &str) -> Args {
        Line::try_parse_from(["exec"].into_iter().chain(words.split(' '))).unwrap().args
    }

    #[test]
    fn options_of_the_command_are_its_own() {
        let args = parsed("web -u bob -e A=1 -e B= -- ls -l --user x");
        assert_eq!((args.user.as_deref(), args.command.join(" ")), (Some("bob"), "ls -l --user x".into()));
        assert_eq!(args.env, [("A".into(), "1".into()), ("B".into(), String::new())]);
        assert!(parsed("-it web ls").tty && parsed("-i web ls").interactive);
        assert_eq!(parsed("-T web ls -T").command, ["ls", "-T"]);
        assert!(Line::try_parse_from(["exec", "web"]).is_err());
    }

    #[test]
    fn variables_without_a_value_are_the_callers() {
        assert_eq!(variable("PATH").unwrap().1, std::env::var("PATH").unwrap());
        assert!(variable("=x").is_err() && variable("ZONECTL_SURELY_NOT_SET").is_err());
    }
}
