//! `zonectl list`.

use anyhow::Result;
use clap::ValueEnum;
use zoned_api::{State, ZoneInfo, client::Client};

use super::App;
use crate::{
    cli, daemon,
    output::{
        table::{Column, Field, Look, Table, Tone, left, right},
        units,
    },
};

/// List the zones
#[derive(clap::Args, Debug)]
#[command(
    after_help = "On a narrow terminal REASON is cut, then columns are left out: OS first, then BRAND, PID and UPTIME. Columns \
                        that are asked for stay.\n\n\
                        Examples:\n  zonectl list\n  zonectl list web db\n  zonectl list -H -o name,state\n  zonectl list --json"
)]
pub(crate) struct Args {
    /// Only these, by name or UUID
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zones: Vec<String>,
    /// Columns, separated by commas
    #[arg(long, short = 'o', value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<Shown>,
    /// Without the line of headings
    #[arg(long, short = 'H')]
    no_header: bool,
    /// One JSON document: { "zones": [ … ] }
    #[arg(long, conflicts_with_all = ["columns", "no_header"])]
    json: bool,
}

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    Name,
    Uuid,
    State,
    Brand,
    Uptime,
    Boots,
    Pid,
    Monitor,
    IdBase,
    Autoboot,
    Online,
    Os,
    Root,
    Reason,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let zones = match args.zones.is_empty() {
        true => daemon::zones(&mut client).await?,
        false => named(&mut client, &args.zones).await?,
    };
    if args.json {
        app.out.json(&serde_json::json!({ "zones": zones }))?;
        return Ok(0);
    }
    if zones.is_empty() {
        app.out.aside("no zones; `zonectl create NAME` makes one");
        return Ok(0);
    }
    let asked = !args.columns.is_empty();
    let columns = if asked { args.columns } else { usual(&zones) };
    let look =
        Look { colour: app.out.colour, headless: args.no_header, width: app.out.width().filter(|_| !asked) };
    app.out.data(&table(&zones, &columns, units::now_ms()).render(look))?;
    Ok(0)
}

/// The zones that were named; one that is not there is an error.
async fn named(client: &mut Client, names: &[String]) -> Result<Vec<ZoneInfo>> {
    let mut zones = Vec::new();
    for name in names {
        zones.push(daemon::info(client, name).await?);
    }
    Ok(zones)
}

/// The columns if none are asked for; reasons only where there are any.
fn usual(zones: &[ZoneInfo]) -> Vec<Shown> {
    let mut columns = vec![Shown::Name, Shown::State, Shown::Brand, Shown::Uptime, Shown::Pid, Shown::Os];
    if zones.iter().any(|zone| zone.reason.is_some()) {
        columns.push(Shown::Reason);
    }
    columns
}

fn table(zones: &[ZoneInfo], columns: &[Shown], now_ms: u64) -> Table {
    let mut table = Table::new(columns.iter().map(|column| heading(*column)).collect());
    for zone in zones {
        table.row(columns.iter().map(|column| field(*column, zone, now_ms)).collect());
    }
    table
}

fn heading(column: Shown) -> Column {
    match column {
        Shown::Name => left("NAME").cut(8),
        Shown::Uuid => left("UUID"),
        Shown::State => left("STATE"),
        Shown::Brand => left("BRAND").spare(3),
        Shown::Uptime => right("UPTIME").spare(1),
        Shown::Boots => right("BOOTS"),
        Shown::Pid => right("PID").spare(2),
        Shown::Monitor => right("MONITOR"),
        Shown::IdBase => right("ID-BASE"),
        Shown::Autoboot => left("AUTOBOOT"),
        Shown::Online => left("ONLINE"),
        Shown::Os => left("OS").spare(4),
        Shown::Root => left("ROOT"),
        Shown::Reason => left("REASON").gives(20).cut(12),
    }
}

fn field(column: Shown, zone: &ZoneInfo, now_ms: u64) -> Field {
    match column {
        Shown::Name => Field::new(zone.zone.as_str()),
        Shown::Uuid => Field::new(zone.uuid.to_string()),
        Shown::State => Field::new(zone.state.as_str()).tone(tone(zone.state)),
        Shown::Brand => Field::new(&zone.brand),
        Shown::Uptime => Field::maybe(uptime(zone, now_ms)),
        Shown::Boots => Field::new(zone.boot.to_string()),
        Shown::Pid => Field::maybe(zone.init_pid),
        Shown::Monitor => Field::maybe(zone.monitor_pid),
        Shown::IdBase => Field::new(zone.id_base.to_string()),
        Shown::Autoboot => Field::new(if zone.config.autoboot { "yes" } else { "no" }),
        Shown::Online => Field::maybe(online(zone)),
        Shown::Os => Field::maybe(zone.os.as_ref()),
        Shown::Root => Field::new(source(zone)),
        Shown::Reason => Field::maybe(zone.reason.as_ref()),
    }
}

/// Where the root comes from, by configuration.
fn source(zone: &ZoneInfo) -> String {
    zone.config.root.image.as_ref().map_or_else(|| "sparse".to_owned(), ToString::to_string)
}

/// Whether it is online, if it runs.
fn online(zone: &ZoneInfo) -> Option<&'static str> {
    let no = zone.awaits.as_ref().map(|_| "no");
    zone.online_ms.map(|_| "yes").or(no)
}

/// How long it has been up. A clock that was set back counts as no time.
pub(crate) fn uptime(zone: &ZoneInfo, now_ms: u64) -> Option<String> {
    zone.booted_ms.map(|booted| units::span(now_ms.saturating_sub(booted) / 1000))
}

/// How a state looks.
pub(crate) fn tone(state: State) -> Tone {
    match state {
        State::Running => Tone::Good,
        State::Ready | State::Paused | State::ShuttingDown | State::Incomplete => Tone::Warn,
        State::Down => Tone::Bad,
        State::Configured | State::Installed => Tone::Plain,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use zoned_api::ZoneConfig;

    use super::*;

    /// A zone as the daemon would tell of it.
    pub(crate) fn zone(name: &str, state: State, more: &str) -> ZoneInfo {
        serde_json::from_value(serde_json::json!({
            "zone": name, "uuid": "6e1c9f04-58a7-4b0c-9a0b-1f6a5c1f0d11", "state": state, "brand": "native",
            "boot": 3, "id_base": 536_870_912,
            "config": ZoneConfig::parse(&format!("zone: {name}\n{more}")).unwrap(),
        }))
        .unwrap()
    }

    #[test]
    fn the_usual_columns() {
        let mut web = zone("web", State::Running, "");
        (web.booted_ms, web.init_pid, web.os) = (Some(1_000), Some(77), Some("Debian \x1b[5mGNU".into()));
        let zones = [zone("db", State::Configured, ""), web];
        let text = table(&zones, &usual(&zones), 185_000).render(Look::default());
        assert_eq!(
            text,
            "NAME  STATE       BRAND   UPTIME  PID  OS\n\
             db    configured  native       -    -  -\n\
             web   running     native   3m04s   77  Debian \\u{1b}[5mGNU"
        );
    }

    #[test]
    fn reasons_show_by_themselves() {
        let mut down = zone("web", State::Down, "");
        down.reason = Some("tear-down: cgroup is busy".into());
        assert_eq!(usual(&[down]).last(), Some(&Shown::Reason));
    }

    #[test]
    fn narrow_terminals_get_the_columns_that_matter() {
        let mut down = zone("a-zone-with-quite-a-long-name", State::Down, "");
        down.reason = Some("tear-down: the cgroup is busy: held by process 4711 (sleep)".into());
        (down.init_pid, down.os) = (Some(77), Some("Debian GNU/Linux 12 (bookworm)".into()));
        let zones = [zone("web", State::ShuttingDown, ""), down];
        for width in [40, 60, 80] {
            let look = Look { width: Some(width), ..Look::default() };
            let text = table(&zones, &usual(&zones), 0).render(look);
            assert!(text.lines().all(|line| line.chars().count() <= width.into()), "{width}\n{text}");
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.contains("STATE") && text.contains("shutting-down"), "{text}");
        }
        let fits = table(&zones, &usual(&zones[..1]), 0).render(Look { width: Some(60), ..Look::default() });
        assert_eq!(fits.lines().next().unwrap().split_whitespace().last(), Some("PID"), "{fits}");
    }

    #[test]
    fn every_column_has_a_heading_of_its_own() {
        let zones = [zone("web", State::Installed, "autoboot: true\nroot: { image: debian:bookworm }")];
        let text = table(&zones, Shown::value_variants(), 0).render(Look::default());
        let heads: std::collections::BTreeSet<_> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(heads.len(), Shown::value_variants().len());
        assert!(text.contains("debian:bookworm") && text.contains("536870912"), "{text}");
    }
}
