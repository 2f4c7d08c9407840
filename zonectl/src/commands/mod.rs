//! The verbs, one file each: arguments, help, and what is asked of the daemon.

mod attend;
mod audit;
mod boot;
mod completions;
mod console;
mod cp;
mod create;
mod delete;
mod doctor;
mod edit;
mod events;
mod exec;
mod export;
mod halt;
mod info;
mod install;
mod list;
mod login;
mod losing;
mod man;
mod online;
mod pause;
mod ready;
mod reboot;
mod resume;
mod schema;
mod set;
mod several;
mod shutdown;
mod stat;
mod uninstall;
mod verify;
mod version;
mod whatif;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use zoned_api::client::Client;

use crate::{
    cli::Cli,
    daemon::{self, Outcome},
    output::Out,
};

/// What every verb works with.
#[derive(Debug)]
pub(crate) struct App {
    /// Where the daemon listens.
    pub(crate) socket: PathBuf,
    /// Where output goes.
    pub(crate) out: Out,
}

impl App {
    /// A connection to the daemon.
    pub(crate) async fn connect(&self) -> Result<Client> {
        daemon::connect(&self.socket).await
    }

    /// Tells how a verb on a zone ended: `zone web: running (it was running already)`.
    pub(crate) fn report(&self, zone: &str, outcome: &Outcome, gone: &'static str) {
        let state = outcome.state.map_or(gone, zoned_api::State::as_str);
        let note = outcome.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        self.out.notice(&format!("zone {zone}: {state}{note}"));
    }
}

/// The verbs, in the order of the help: each is the module of its name, with `Args` and `run`.
macro_rules! verbs {
    ($($verb:ident = $module:ident,)*) => {
        /// A verb with its arguments.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($verb($module::Args),)*
        }

        /// What clap knows of one verb. To define all of them would be a fifth of the time of a command like `list`.
        pub(crate) fn definition(verb: &str) -> Option<clap::Command> {
            match verb {
                $(stringify!($module) => {
                    let verb = clap::Command::new(stringify!($module));
                    Some(<$module::Args as clap::Args>::augment_args(verb))
                })*
                _ => None,
            }
        }

        /// Carries a verb out and returns the exit status.
        pub(crate) async fn run(cli: Cli) -> Result<u8> {
            let app = App { socket: cli.global.socket(), out: Out::new(cli.global.color, cli.global.quiet) };
            match cli.command {
                $(Command::$verb(args) => $module::run(&app, args).await,)*
            }
        }
    };
}

verbs! {
    Create = create,
    Edit = edit,
    Set = set,
    Whatif = whatif,
    Verify = verify,
    Export = export,
    Delete = delete,
    Install = install,
    Uninstall = uninstall,
    Ready = ready,
    Boot = boot,
    Shutdown = shutdown,
    Halt = halt,
    Reboot = reboot,
    Pause = pause,
    Resume = resume,
    Login = login,
    Console = console,
    Exec = exec,
    Cp = cp,
    List = list,
    Info = info,
    Stat = stat,
    Events = events,
    Doctor = doctor,
    Audit = audit,
    Schema = schema,
    Version = version,
    Completions = completions,
    Man = man,
}

impl Command {
    /// Exit status when the verb itself fails.
    pub(crate) fn failure_code(&self) -> u8 {
        match self {
            Command::Exec(_) | Command::Login(_) => crate::session::FAILED,
            _ => 1,
        }
    }
}
