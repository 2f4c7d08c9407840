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

/// A verb with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Args),
    Edit(edit::Args),
    Set(set::Args),
    Verify(verify::Args),
    Export(export::Args),
    Delete(delete::Args),
    Install(install::Args),
    Uninstall(uninstall::Args),
    Ready(ready::Args),
    Boot(boot::Args),
    Shutdown(shutdown::Args),
    Halt(halt::Args),
    Reboot(reboot::Args),
    Pause(pause::Args),
    Resume(resume::Args),
    Login(login::Args),
    Console(console::Args),
    Exec(exec::Args),
    Cp(cp::Args),
    List(list::Args),
    Info(info::Args),
    Stat(stat::Args),
    Events(events::Args),
    Doctor(doctor::Args),
    Audit(audit::Args),
    Schema(schema::Args),
    Version(version::Args),
    Completions(completions::Args),
    Man(man::Args),
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

/// Carries a verb out and returns the exit status.
pub(crate) async fn run(cli: Cli) -> Result<u8> {
    let app = App { socket: cli.global.socket(), out: Out::new(cli.global.color, cli.global.quiet) };
    match cli.command {
        Command::Create(args) => create::run(&app, args).await,
        Command::Edit(args) => edit::run(&app, args).await,
        Command::Set(args) => set::run(&app, args).await,
        Command::Verify(args) => verify::run(&app, args).await,
        Command::Export(args) => export::run(&app, args).await,
        Command::Delete(args) => delete::run(&app, args).await,
        Command::Install(args) => install::run(&app, args).await,
        Command::Uninstall(args) => uninstall::run(&app, args).await,
        Command::Ready(args) => ready::run(&app, args).await,
        Command::Boot(args) => boot::run(&app, args).await,
        Command::Shutdown(args) => shutdown::run(&app, args).await,
        Command::Halt(args) => halt::run(&app, args).await,
        Command::Reboot(args) => reboot::run(&app, args).await,
        Command::Pause(args) => pause::run(&app, args).await,
        Command::Resume(args) => resume::run(&app, args).await,
        Command::Login(args) => login::run(&app, args).await,
        Command::Console(args) => console::run(&app, args).await,
        Command::Exec(args) => exec::run(&app, args).await,
        Command::Cp(args) => cp::run(&app, args).await,
        Command::List(args) => list::run(&app, args).await,
        Command::Info(args) => info::run(&app, args).await,
        Command::Stat(args) => stat::run(&app, args).await,
        Command::Events(args) => events::run(&app, args).await,
        Command::Doctor(args) => doctor::run(&app, args).await,
        Command::Audit(args) => audit::run(&app, args).await,
        Command::Schema(args) => schema::run(&app, args),
        Command::Version(args) => version::run(&app, args).await,
        Command::Completions(args) => completions::run(&app, args),
        Command::Man(args) => man::run(&app, args),
    }
}
