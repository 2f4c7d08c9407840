//! `zonectl info`.

use anyhow::Result;
use zoned_api::{
    ZoneInfo,
    config::{GLOBAL, NetMode},
    report::{Exit, GlobalInfo, Interface, LimitUse},
};

use super::{App, list};
use crate::{
    cli, daemon,
    output::{escape, units},
};

/// Show all that is known of a zone
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl info web --json | jq .state")]
pub(crate) struct Args {
    /// Name or UUID of the zone, or `global`, the host's own processes
    #[arg(value_name = "ZONE", value_parser = cli::zone_or_global)]
    zone: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    if args.zone == GLOBAL {
        let info = daemon::global(&mut client).await?;
        if args.json {
            app.out.json(&info)?;
        } else {
            app.out.data(&of_global(&info))?;
        }
        return Ok(0);
    }
    let info = daemon::info(&mut client, &args.zone).await?;
    if args.json {
        app.out.json(&info)?;
    } else {
        app.out.data(&describe(&info, units::now_ms())?)?;
    }
    Ok(0)
}

/// A line for each thing known, then the configuration.
fn describe(info: &ZoneInfo, now_ms: u64) -> Result<String> {
    let number = |n: Option<u32>| n.map(|n| n.to_string());
    let booted = info.booted_ms.map(units::date).zip(list::uptime(info, now_ms));
    let lines = [
        ("zone", Some(info.zone.to_string())),
        ("uuid", Some(info.uuid.to_string())),
        ("state", Some(info.state.to_string())),
        ("reason", info.reason.clone()),
        ("brand", Some(info.brand.clone())),
        ("os", info.os.clone()),
        ("root", info.root.clone()),
        ("user ids", Some(format!("{}-{}", info.id_base, u64::from(info.id_base) + 65_535))),
        ("boots", Some(info.boot.to_string())),
        ("booted", booted.map(|(date, uptime)| format!("{date}, up {uptime}"))),
        ("online", online(info)),
        ("init", number(info.init_pid).map(|pid| format!("pid {pid} on the host"))),
        ("monitor", number(info.monitor_pid).map(|pid| format!("pid {pid}"))),
        ("last exit", info.last_exit.as_ref().map(exit)),
    ];
    let mut text = String::new();
    for (name, value) in lines.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        text.push_str(&format!("{name:<11}{}\n", escape::message(&value).replace("\n  ", "\n           ")));
    }
    text.push_str(&limits(&info.limits));
    for interface in &info.network {
        text.push_str(&format!("{:<11}{}\n", "network", escape::message(&network(interface))));
    }
    text.push_str("configuration\n");
    for line in info.config.to_yaml()?.lines() {
        text.push_str(&format!("  {}\n", escape::line(line)));
    }
    Ok(text)
}

/// The host has neither state nor configuration.
fn of_global(info: &GlobalInfo) -> String {
    let entitled = info.entitlement.as_ref().and_then(|e| Some((e.cpus?, e.share_percent)));
    let entitled = entitled.map(|(cpus, percent)| {
        format!(
            "{:<11}{cpus:.3} CPUs if all want all they may have: {percent:.1} % of the shares\n",
            "entitled"
        )
    });
    let head = format!("{:<11}{GLOBAL}, all that is in no zone\n", "zone");
    [head, entitled.unwrap_or_default(), limits(&info.limits)].concat()
}

/// A line for each limit that is in force, with what is used of it and what came of it.
fn limits(limits: &[LimitUse]) -> String {
    if limits.is_empty() {
        return String::new();
    }
    let key = limits.iter().map(|l| l.key.len()).max().unwrap_or(0);
    let value = limits.iter().map(|l| l.limit.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (at, limit) in limits.iter().enumerate() {
        let head = if at == 0 { "limits" } else { "" };
        let (name, given, notes) = (&limit.key, &limit.limit, notes(limit));
        text.push_str(format!("{head:<11}{name:<key$}  {given:>value$}  {notes}").trim_end());
        text.push('\n');
    }
    text
}

/// What is used of a limit and what came of it: `34.2M used, processes killed: 2`.
fn notes(LimitUse { key, used, hits, note, .. }: &LimitUse) -> String {
    let shown = |n: u64| match key.as_str() {
        "io.read" | "io.write" => format!("{} a second", units::size(n)),
        "io.read-iops" | "io.write-iops" => format!("{n} a second"),
        "root.quota" => format!("{} used", units::size(n)),
        _ if key.starts_with("memory.") => format!("{} used", units::size(n)),
        _ => format!("{n} used"),
    };
    let used = used.map(shown);
    let happened = match key.as_str() {
        "memory.limit" => "processes killed:",
        "tasks.max" => "forks refused:",
        _ if key.starts_with("io.") => "seconds at it:",
        _ => "periods held back:",
    };
    let hits = hits.filter(|n| *n > 0).map(|n| format!("{happened} {n}"));
    used.into_iter().chain(hits).chain(note.clone()).collect::<Vec<_>>().join(", ")
}

/// `net0 (bridge): 10.77.0.2/16, fd00::2/64; 02:00:5e:10:00:01`.
fn network(interface: &Interface) -> String {
    let mac = interface.mac.map(|mac| format!("; {mac}")).unwrap_or_default();
    match (interface.mode, interface.addresses.join(", ")) {
        (NetMode::Host, _) => "the host's own".to_owned(),
        (mode, none) if none.is_empty() => format!("{} ({}): no address{mac}", interface.name, mode.as_str()),
        (mode, addresses) => format!("{} ({}): {addresses}{mac}", interface.name, mode.as_str()),
    }
}

/// How long after its boot it came online, or what it lacks.
fn online(info: &ZoneInfo) -> Option<String> {
    let after = info.online_ms.zip(info.booted_ms).map(|(online, booted)| online.saturating_sub(booted));
    let lacks = || info.awaits.as_ref().map(|awaits| format!("not yet: {awaits}"));
    after.map(|ms| format!("after {}", units::seconds(ms))).or_else(lacks)
}

fn exit(exit: &Exit) -> String {
    match exit {
        Exit::Exited { code } => format!("init returned {code}"),
        Exit::Killed { signal } => format!("init was killed by signal {signal}"),
        Exit::PoweredOff => "powered off from inside".to_owned(),
        Exit::Rebooted => "rebooted from inside".to_owned(),
        Exit::Unknown => "unknown: its monitor died".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use zoned_api::{State, stat::Entitlement};

    use super::*;

    #[test]
    fn limits_stand_under_each_other() {
        let of = |key: &str, limit: &str, used, hits| LimitUse {
            key: key.into(),
            limit: limit.into(),
            used,
            hits,
            note: (key == "cpu.shares").then(|| "kept by deficit".into()),
        };
        let shown = limits(&[
            of("cpu.shares", "300", None, None),
            of("memory.limit", "64M", Some(1 << 20), Some(2)),
            of("tasks.max", "8", Some(8), Some(0)),
            of("root.quota", "64M", Some(5 << 20), None),
            of("io.write", "20M", Some(19 << 20), Some(7)),
        ]);
        assert_eq!(
            shown,
            "limits     cpu.shares    300  kept by deficit\n           memory.limit  64M  1.00M used, processes killed: 2\n           \
             tasks.max       8  8 used\n           root.quota    64M  5.00M used\n           \
             io.write      20M  19.0M a second, seconds at it: 7\n"
        );
        assert_eq!(limits(&[]), "");
    }

    #[test]
    fn the_host_has_shares_and_what_keeps_them() {
        let note = Some("kept by fss".into());
        let limit = LimitUse { key: "cpu.shares".into(), limit: "300".into(), used: None, hits: None, note };
        let mut info = GlobalInfo { limits: vec![limit], entitlement: None };
        let limits = "limits     cpu.shares  300  kept by fss\n";
        assert_eq!(of_global(&info), format!("zone       global, all that is in no zone\n{limits}"));
        info.entitlement =
            Some(Entitlement { cpus: Some(1.5), share_percent: 75.0, ..Entitlement::default() });
        let entitled = "entitled   1.500 CPUs if all want all they may have: 75.0 % of the shares\n";
        assert_eq!(
            of_global(&info),
            format!("zone       global, all that is in no zone\n{entitled}{limits}")
        );
    }

    #[test]
    fn only_what_is_known_is_shown() {
        let mut info = list::tests::zone("web", State::Down, "order: 4");
        info.reason = Some("two steps failed:\nzone: \x1bc".into());
        info.last_exit = Some(Exit::Killed { signal: 9 });
        let text = describe(&info, 0).unwrap();
        assert!(
            text.contains("state      down\nreason     two steps failed:\n           zone: \\u{1b}c\n"),
            "{text}"
        );
        assert!(text.contains("user ids   536870912-536936447\n"), "{text}");
        assert!(
            text.contains("last exit  init was killed by signal 9\nconfiguration\n  zone: web\n"),
            "{text}"
        );
        assert!(!text.contains("\nonline "), "{text}");
        (info.booted_ms, info.awaits) = (Some(5_000), Some("it has not said \x1b".into()));
        let not_yet = describe(&info, 0).unwrap();
        assert!(not_yet.contains("\nonline     not yet: it has not said \\u{1b}\n"), "{not_yet}");
        (info.online_ms, info.awaits) = (Some(6_260), None);
        assert!(describe(&info, 0).unwrap().contains("\nonline     after 1.3s\n"));
        info.network = vec![Interface {
            name: "net0".into(),
            mode: NetMode::Bridge,
            mac: "02:00:5e:10:00:01".parse().ok(),
            addresses: vec!["10.77.0.2/16".into(), "fd00::2/64".into()],
        }];
        let with = describe(&info, 0).unwrap();
        assert!(
            with.contains("network    net0 (bridge): 10.77.0.2/16, fd00::2/64; 02:00:5e:10:00:01\n"),
            "{with}"
        );
        assert!(text.contains("  order: 4\n") && !text.contains("monitor"), "{text}");
    }
}
