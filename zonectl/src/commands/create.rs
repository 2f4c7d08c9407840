//! `zonectl create`.

use std::{
    io::Read,
    path::{Path, absolute},
};

use anyhow::{Context, Result};
use zoned_api::{Method, ZoneConfig, config::MAX_TEXT};

use super::App;
use crate::{cli, daemon, output::failure::hinted};

/// Make a zone
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Without a file the zone shares the host's /usr (sparse). A ZONE beside a file renames it.\n\n\
                        Examples:\n  zonectl create web\n  zonectl create web --image debian:bookworm --set autoboot=true\n  \
                        zonectl create -f web.yaml\n  zonectl export web | zonectl create web2 -f -"
)]
pub(crate) struct Args {
    /// Name of the new zone
    #[arg(value_name = "ZONE", value_parser = cli::zone, required_unless_present = "file")]
    zone: Option<String>,
    /// Configuration, YAML; `-` is stdin
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,
    /// Set a key of the configuration to a YAML value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = cli::key_value)]
    set: Vec<(String, String)>,
    /// Share the host's /usr, read-only
    #[arg(long, conflicts_with = "image")]
    sparse: bool,
    /// Take the root from debian:SUITE, tar:FILE or dir:PATH
    #[arg(long, value_name = "SOURCE")]
    image: Option<String>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let yaml = compose(&args)?;
    let config = ZoneConfig::parse(&yaml)?;
    let mut client = app.connect().await?;
    let outcome = daemon::done(&mut client, Method::Create { yaml }).await?;
    app.report(config.zone.as_str(), &outcome, "created");
    Ok(0)
}

/// The configuration's text: the file's as it is, unless something is changed on top of it.
fn compose(args: &Args) -> Result<String> {
    let text = match &args.file {
        Some(file) => read_config(file)?,
        None => String::new(),
    };
    let mut changes = cli::values(&args.set)?;
    if let Some(zone) = &args.zone {
        if let Some(other) = changes.get("zone").filter(|other| *other != zone) {
            return Err(hinted(format!("zone={other}: the new zone is to be {zone}"), "give one name"));
        }
        changes.insert("zone".into(), quoted(zone)?);
    }
    if args.sparse {
        changes.insert("root".into(), "{ sparse: true }".into());
    }
    if let Some(image) = &args.image {
        changes.insert("root".into(), format!("{{ image: {} }}", quoted(&absolute_image(image)?)?));
    }
    // Something else of the root was given: it is sparse as one is of which nothing was.
    let sourced = ["root", "root.sparse", "root.image"].iter().any(|key| changes.contains_key(*key));
    if args.file.is_none() && !sourced && changes.keys().any(|key| key.starts_with("root.")) {
        changes.insert("root.sparse".into(), "true".into());
    }
    if changes.is_empty() { Ok(text) } else { Ok(ZoneConfig::set(&text, &changes)?) }
}

/// A string that YAML takes for nothing else (`on`, `1e3`): a JSON string is one.
fn quoted(text: &str) -> Result<String> {
    Ok(serde_json::to_string(text)?)
}

/// Reads a configuration from a file or, for `-`, from stdin.
pub(crate) fn read_config(file: &str) -> Result<String> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that too much is told from just enough.
    let limit = MAX_TEXT as u64 + 1;
    let name = if file == "-" { "stdin" } else { file };
    let read = if file == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).with_context(|| name.to_owned())?.take(limit).read_to_end(&mut bytes)
    };
    read.with_context(|| name.to_owned())?;
    if bytes.len() > MAX_TEXT {
        return Err(hinted(
            format!("{name}: more than {MAX_TEXT} bytes are no configuration"),
            "`zonectl schema` prints what a configuration holds",
        ));
    }
    String::from_utf8(bytes).with_context(|| format!("{name}: not UTF-8"))
}

/// A source of an image whose path is absolute: zoned does not know where the caller stands.
pub(crate) fn absolute_image(source: &str) -> Result<String> {
    match source.split_once(':') {
        Some((kind @ ("tar" | "dir"), path)) if !path.is_empty() && !path.starts_with('/') => {
            let whole = absolute(Path::new(path)).with_context(|| path.to_owned())?;
            let whole = whole.to_str().with_context(|| format!("{path}: its absolute path is not UTF-8"))?;
            Ok(format!("{kind}:{whole}"))
        }
        _ => Ok(source.to_owned()),
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

    fn composed(words: &[&str]) -> Result<ZoneConfig> {
        let line = Line::try_parse_from([&["create"], words].concat())?;
        Ok(ZoneConfig::parse(&compose(&line.args)?)?)
    }

    #[test]
    fn a_name_is_enough() {
        assert_eq!(composed(&["web"]).unwrap(), ZoneConfig::parse("zone: web").unwrap());
        assert_eq!(composed(&["1e3"]).unwrap().zone.as_str(), "1e3");
        assert!(composed(&[]).is_err());
        let quota = composed(&["web", "--set", "root.quota=64M"]).unwrap();
        assert!(quota.root.sparse && quota.root.quota.is_some());
        assert!(composed(&["web", "--set", "zone=other"]).is_err());
        assert!(composed(&["web", "--set", "order=1", "--set", "order=2"]).is_err());
    }

    #[test]
    fn options_go_on_top_of_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"zone: a\norder: 3\nroot: { image: debian:bookworm }\n")
            .unwrap();
        let path = file.path().to_str().unwrap();
        let config =
            composed(&["b", "-f", path, "--sparse", "--set", "autoboot=true", "--set", "order="]).unwrap();
        assert_eq!((config.zone.as_str(), config.order, config.autoboot), ("b", 0, true));
        assert!(config.root.sparse && config.root.image.is_none());
        assert!(composed(&["-f", path, "--sparse", "--image", "debian:x"]).is_err());
    }

    #[test]
    fn relative_images_are_the_callers() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute_image("tar:a.tgz").unwrap(), format!("tar:{}/a.tgz", here.display()));
        assert_eq!(absolute_image("dir:/srv").unwrap(), "dir:/srv");
        assert_eq!(absolute_image("debian:sid").unwrap(), "debian:sid");
    }

    #[test]
    fn a_device_is_not_read_for_ever() {
        assert!(read_config("/dev/zero").unwrap_err().to_string().contains("no configuration"));
    }
}
