//! `zonectl verify`.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use zoned_api::{
    Method, Reply, ZoneConfig,
    config::{Fs, FsOption},
};

use super::{App, create::read_config};
use crate::{cli, daemon};

/// Check a configuration and print it with defaults filled in; nothing is changed
#[derive(clap::Args, Debug)]
#[command(
    after_help = "What has a / in it, ends in .yaml or .yml, or is `-` (stdin) is a file; anything else a zone.\n\n\
                        Examples:\n  zonectl verify ./web.yaml\n  zonectl verify web"
)]
pub(crate) struct Args {
    /// File with a configuration, or name of a zone
    #[arg(value_name = "FILE|ZONE")]
    what: String,
    /// As JSON: the configuration and the warnings
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let from_file = is_file(&args.what);
    let (mut client, yaml) = if from_file {
        let yaml = read_config(&args.what)?;
        // First without the daemon, so that a fault in the text shows even while it does not run.
        ZoneConfig::parse(&yaml)?;
        (app.connect().await?, yaml)
    } else {
        let zone = cli::zone(&args.what).map_err(anyhow::Error::msg)?;
        let mut client = app.connect().await?;
        let yaml = daemon::text(&mut client, Method::Export { zone }).await?;
        (client, yaml)
    };
    let (text, warnings) = match client.call(Method::Verify { yaml }).await? {
        Reply::Checked { text, warnings } => (text, warnings),
        other => return Err(daemon::unexpected(&other)),
    };
    let checked = effective(&ZoneConfig::parse(&text)?)?;
    if args.json {
        let config: Value = serde_yaml::from_str(&checked)?;
        app.out.json(&json!({ "config": config, "warnings": warnings }))?;
        return Ok(0);
    }
    app.out.foreign(&checked)?;
    for warning in warnings {
        app.out.warn(&format!("warning: {warning}"));
    }
    Ok(0)
}

/// The whole configuration as it counts, every key of it; still a configuration. `null` leaves it to the brand.
fn effective(config: &ZoneConfig) -> Result<String> {
    let written = serde_json::to_value(config)?;
    let builtin = config.has_builtin_init();
    // Only the built-in init has a use for it.
    let own = |value: &str| if builtin { json!(value) } else { Value::Null };
    let key = |key: &str, default: Value| written.get(key).cloned().unwrap_or(default);
    let process = |key: &str, default: Value| {
        written.get("process").and_then(|process| process.get(key)).cloned().unwrap_or(default)
    };
    let whole = Whole {
        zone: key("zone", Value::Null),
        brand: key("brand", Value::Null),
        autoboot: config.autoboot,
        order: config.order,
        after: key("after", json!([])),
        online: json!({
            "notify": config.online.notify.or((builtin && config.online.port.is_none()).then_some(false)),
            "port": config.online.port,
            "timeout": config.online.counted_timeout(),
        }),
        hostname: key("hostname", json!(config.zone)),
        root: key("root", Value::Null),
        fs: config.fs.iter().map(shown).collect::<Result<_>>()?,
        device: key("device", json!([])),
        net: key("net", json!([])),
        resolver: key("resolver", json!({})),
        limitpriv: &config.limitpriv,
        cpu: json!({
            "shares": config.cpu.counted_shares(),
            "cap": config.cpu.cap,
            "cpus": config.cpu.cpus,
            "dedicated": config.cpu.dedicated,
        }),
        memory: json!({
            "limit": config.memory.limit,
            "high": config.memory.high,
            "swap": config.memory.swap,
        }),
        tasks: json!({ "max": config.tasks.max }),
        io: json!({
            "weight": config.io.weight,
            "read": config.io.read,
            "write": config.io.write,
            "read-iops": config.io.read_iops,
            "write-iops": config.io.write_iops,
        }),
        process: Process {
            init: process("init", own("none")),
            command: &config.process.command,
            env: process("env", json!({})),
            cwd: process("cwd", own("/")),
            user: process("user", own("root")),
        },
    };
    Ok(serde_yaml::to_string(&whole)?)
}

/// A folder of the host's; without an option it is writable.
fn shown(fs: &Fs) -> Result<Value> {
    let mut fs = fs.clone();
    if !fs.options.contains(&FsOption::Ro) && !fs.options.contains(&FsOption::Rw) {
        fs.options.insert(0, FsOption::Rw);
    }
    Ok(serde_json::to_value(fs)?)
}

/// In the order of the documentation.
#[derive(Serialize)]
struct Whole<'a> {
    zone: Value,
    brand: Value,
    autoboot: bool,
    order: u32,
    after: Value,
    online: Value,
    hostname: Value,
    root: Value,
    fs: Vec<Value>,
    device: Value,
    net: Value,
    resolver: Value,
    limitpriv: &'a [String],
    cpu: Value,
    memory: Value,
    tasks: Value,
    io: Value,
    process: Process<'a>,
}

#[derive(Serialize)]
struct Process<'a> {
    init: Value,
    command: &'a [String],
    env: Value,
    cwd: Value,
    user: Value,
}

/// Decided by the name alone, so that a file lying about cannot take the place of a zone.
fn is_file(what: &str) -> bool {
    let extension = Path::new(what).extension().and_then(|e| e.to_str());
    what == "-" || what.contains('/') || matches!(extension, Some("yaml" | "yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_printed_and_what_is_printed_means_the_same() {
        let schema = serde_json::to_value(ZoneConfig::schema()).unwrap();
        let keys = |properties: &Value| properties.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for more in ["", "root: { image: debian:bookworm }", "fs: [{ source: /a, target: /b }]"] {
            let config = ZoneConfig::parse(&format!("zone: web\n{more}")).unwrap();
            let text = effective(&config).unwrap();
            let tree: Value = serde_yaml::from_str(&text).unwrap();
            assert_eq!(keys(&tree), keys(&schema["properties"]), "{text}");
            assert_eq!(keys(&tree["process"]), keys(&schema["$defs"]["Process"]["properties"]), "{text}");
            // Once more makes no difference.
            assert_eq!(effective(&ZoneConfig::parse(&text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn names_tell_files_from_zones() {
        assert!(["-", "./web", "/etc/web", "web.yaml", "a/b.yml"].into_iter().all(is_file));
        assert!(!["web", "web.example", "yaml"].into_iter().any(is_file));
    }
}
