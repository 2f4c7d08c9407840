//! Options from both places.

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, parser::ValueSource};

use super::{
    Options,
    file::{self, FileError, Told},
};

/// Name of the file, in the folder of configuration.
pub const FILE: &str = "zoned.yaml";

/// Options, and where they are from.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// All of them.
    pub options: Options,
    /// The file that was looked for.
    pub file: PathBuf,
    /// Keys of it that count.
    pub counting: Vec<String>,
    /// Keys of it that the command line says otherwise.
    pub overruled: Vec<String>,
}

/// Why zoned does not know what it is to do.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The command line is wrong, or asks for help or the version.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file is.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Options of a command line, which begins with the program's name, and of the file in the folder it names. A file that is
/// not there says nothing; one that is wrong is wrong whatever the command line says.
///
/// # Errors
/// Nothing was done yet, and with one of the two nothing should be.
pub fn gather(arguments: impl IntoIterator<Item = OsString>) -> Result<Gathered, TellError> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    let mut command = Options::command();
    let given = command.try_get_matches_from_mut(&arguments)?;
    let options = Options::from_arg_matches(&given)?;
    let file = options.config_dir.join(FILE);
    if options.command.is_some() {
        // A child of the daemon was told all it needs.
        return Ok(Gathered { options, file, counting: Vec::new(), overruled: Vec::new() });
    }
    let is_given = |told: &Told| given.value_source(&told.option) == Some(ValueSource::CommandLine);
    let (overruled, counting): (Vec<_>, Vec<_>) =
        file::read(&file, &command)?.into_iter().partition(is_given);
    let keys = |told: &[Told]| told.iter().map(|told| told.key.clone()).collect();
    let (overruled, counting_keys) = (keys(&overruled), keys(&counting));
    let first = arguments.len().min(1);
    arguments.splice(first..first, counting.into_iter().flat_map(|told| told.arguments));
    let options = Options::try_parse_from(arguments)?;
    Ok(Gathered { options, file, counting: counting_keys, overruled })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::cpu::Backend;

    fn of(text: &str, line: &[&str]) -> Result<Gathered, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let fixed = ["zoned".into(), "--config-dir".into(), folder.path().as_os_str().to_owned()];
        gather(fixed.into_iter().chain(line.iter().map(OsString::from))).map_err(|e| e.to_string())
    }

    #[expect(clippy::print_stdout, reason = "a test says why it is skipped")]
    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_what_is_usual() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: takes root");
            return;
        }
        let text = "cpu-backend: [shares, deficit]\nzones-shares: 300\nuplinks: [eth0, eth0.5]\n";
        let told = of(text, &[]).unwrap();
        assert_eq!(told.options.cpu_backend, [Backend::Shares, Backend::Deficit]);
        assert_eq!((told.options.zones_shares, told.options.bridge.as_str()), (300, "zones0"));
        assert_eq!(told.options.uplinks, ["eth0", "eth0.5"]);
        assert_eq!((told.counting.len(), told.overruled.len()), (3, 0));
        let told = of(text, &["--zones-shares", "7", "--uplinks", "wan"]).unwrap();
        assert_eq!((told.options.zones_shares, told.options.uplinks), (7, vec!["wan".to_owned()]));
        assert_eq!(
            (told.counting, told.overruled.join(" ")),
            (vec!["cpu-backend".into()], "zones-shares uplinks".into())
        );
        assert!(of("zones-shares: 0", &["--zones-shares", "7"]).unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_file_that_is_not_there_says_nothing() {
        let told =
            gather(["zoned", "--config-dir", "/nowhere", "--bridge", "b"].map(OsString::from)).unwrap();
        assert_eq!((told.options.bridge.as_str(), told.options.zones_shares), ("b", 100));
        assert!(gather([]).is_ok_and(|told| told.options.bridge == "zones0"));
    }
}
