//! `zonectl edit`.
//!
//! The text the administrator typed is never lost: whatever fails after the editor has ended, it is kept in a
//! file and the error says which. The daemon compares the text this began from with what is stored then, so that
//! of two who edit at once the second is told.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    process::Command,
};

use anyhow::{Context, Result};
use tempfile::{Builder, NamedTempFile};
use zoned_api::{Method, ZoneConfig, client::Client};

use super::{App, create::read_config};
use crate::{
    cli,
    daemon::{self, Outcome},
    output::{confirm::ask, failure::hinted},
};

/// Change a zone's configuration in an editor
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The editor is $VISUAL, $EDITOR or vi. A text that is refused can be edited again or is kept. Without a terminal: `set`, or \
                        `export` and `edit -f`.\n\n\
                        Examples:\n  EDITOR=nano zonectl edit web\n  zonectl edit web -f web.yaml"
)]
pub(crate) struct Args {
    /// Name or UUID of the zone
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: String,
    /// Take the new text from a file (`-`: stdin) instead of an editor
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,
}

const TEMPORARY: &str = "cannot write a temporary file";

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let zone = args.zone.as_str();
    if let Some(file) = &args.file {
        let outcome = submit(&mut client, zone, None, read_config(file)?).await?;
        app.report(zone, &outcome, "deleted");
        return Ok(0);
    }
    editor_or_terminal(zone)?;
    let base = daemon::text(&mut client, Method::Export { zone: zone.to_owned() }).await?;
    let mut file =
        Builder::new().prefix(&format!("{zone}.")).suffix(".yaml").tempfile().context(TEMPORARY)?;
    file.write_all(base.as_bytes()).and_then(|()| file.flush()).context(TEMPORARY)?;
    loop {
        let text = edited(&file, zone)?;
        if text == base {
            app.out.aside(&format!("zone {zone}: nothing was changed"));
            return Ok(0);
        }
        match submit(&mut client, zone, Some(base.clone()), text).await {
            Ok(outcome) => {
                app.report(zone, &outcome, "deleted");
                return Ok(0);
            }
            Err(error) => app.out.error(&error),
        }
        if !io::stdin().is_terminal() || !ask("Edit again? [y/N] ", &mut io::stdin().lock())? {
            return Err(keep(file, zone));
        }
    }
}

/// Without a terminal there is nobody for vi to talk to; an editor that was named may be a program like sed.
fn editor_or_terminal(zone: &str) -> Result<()> {
    if chosen_editor().is_some() || (io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Ok(());
    }
    Err(hinted(
        format!("zone {zone}: an editor needs a terminal, and stdin or stdout is none"),
        without_editor(zone),
    ))
}

fn without_editor(zone: &str) -> String {
    format!(
        "`zonectl set {zone} KEY=VALUE`, or `zonectl export {zone} -f FILE`, change it, `zonectl edit {zone} -f FILE`"
    )
}

/// Checks the text here first, where a fault in it needs no daemon to be found.
async fn submit(client: &mut Client, zone: &str, base: Option<String>, yaml: String) -> Result<Outcome> {
    ZoneConfig::parse(&yaml)?;
    daemon::done(client, Method::Edit { zone: zone.to_owned(), yaml, base }).await
}

/// Keeps the text; the error says where.
fn keep(file: NamedTempFile, zone: &str) -> anyhow::Error {
    match file.keep() {
        Ok((_, path)) => {
            let path = path.display();
            let message = format!("zone {zone}: its configuration is as it was; your text is kept in {path}");
            hinted(message, format!("mend it there, then `zonectl edit {zone} -f {path}`"))
        }
        Err(lost) => anyhow::anyhow!("zone {zone}: your text could not be kept: {lost}"),
    }
}

/// Runs the editor and returns what is in the file then.
fn edited(file: &NamedTempFile, zone: &str) -> Result<String> {
    let editor = editor();
    // By the shell, as git and crontab do it: the variable may hold arguments.
    let mut line = editor.clone();
    line.push(" \"$@\"");
    let status = Command::new("sh")
        .arg("-c")
        .arg(line)
        .arg("zonectl")
        .arg(file.path())
        .status()
        .context("cannot run sh for the editor")?;
    if !status.success() {
        return Err(hinted(
            format!("the editor {} failed ({status}); nothing was changed", editor.to_string_lossy()),
            format!("set EDITOR to another one; without an editor: {}", without_editor(zone)),
        ));
    }
    // By name: most editors write a new file and rename it.
    std::fs::read_to_string(file.path()).with_context(|| file.path().display().to_string())
}

fn editor() -> OsString {
    chosen_editor().unwrap_or_else(|| "vi".into())
}

fn chosen_editor() -> Option<OsString> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("VISUAL").or_else(|| set("EDITOR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_text_is_where_the_error_says() {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(b"zone: web").unwrap();
        let error = keep(file, "web").to_string();
        let path = error.rsplit(' ').next().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "zone: web");
        std::fs::remove_file(path).unwrap();
    }
}
