//! `zonectl whatif`.

use anyhow::Result;
use zoned_api::{Method, Reply, report::Shift, stat::Entitlement};

use super::App;
use crate::{
    cli, daemon,
    output::table::{Field, Look, Table, Tone, left, right},
};

/// Show what every running zone would be entitled to after a change of one zone's part of the CPUs
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Nothing is changed; what `zonectl set` would refuse is refused. CPUS is what a zone gets when all zones that \
                        run want all they may have: its part by shares, less what its cap and its CPUs forbid, and with what \
                        the others cannot use. A zone that does not run is shown as if it was booted. Where its shares are kept \
                        (fss), `global`, the host's own processes, is one more.\n\n\
                        Examples:\n  zonectl whatif web cpu.shares=300\n  zonectl whatif web cpu.cap=0.5 cpu.cpus=0 --json"
)]
pub(crate) struct Args {
    /// Name or UUID of the zone, or `global`
    #[arg(value_name = "ZONE", value_parser = cli::zone_or_global)]
    zone: String,
    /// What to what: cpu.shares, cpu.cap, cpu.cpus or cpu.dedicated; an empty value takes the key away
    #[arg(value_name = "KEY=VALUE", value_parser = cli::key_value, required = true)]
    values: Vec<(String, String)>,
    /// One JSON document: { "shifts": [ … ] }
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let method = Method::WhatIf { zone: args.zone, values: cli::values(&args.values)? };
    let shifts = match client.call(method).await? {
        Reply::Shifts { shifts } => shifts,
        other => return Err(daemon::unexpected(&other)),
    };
    if args.json {
        app.out.json(&serde_json::json!({ "shifts": shifts }))?;
        return Ok(0);
    }
    let look = Look { colour: app.out.colour, headless: false, width: app.out.width() };
    app.out.data(&table(&shifts).render(look))?;
    Ok(0)
}

fn table(shifts: &[Shift]) -> Table {
    let heads = ["SHARES", "THEN", "SHARE", "THEN", "CPUS", "THEN", "CHANGE"];
    let mut columns = vec![left("ZONE").least(12)];
    columns.extend(heads.map(right));
    let mut table = Table::new(columns);
    for Shift { zone, before, after } in shifts {
        let before = before.as_ref();
        let percent = |e: &Entitlement| format!("{:.1}%", e.share_percent);
        let cpus = |e: &Entitlement| e.cpus.map(|cpus| format!("{cpus:.3}"));
        let more = before.and_then(|e| e.cpus).zip(after.cpus).map(|(before, after)| after - before);
        table.row(vec![
            Field::new(zone.as_str()),
            Field::maybe(before.map(|e| e.shares)),
            Field::new(after.shares.to_string()),
            Field::maybe(before.map(percent)),
            Field::new(percent(after)),
            Field::maybe(before.and_then(cpus)),
            Field::maybe(cpus(after)),
            change(more),
        ]);
    }
    table
}

/// By how much it gets more or less, to a thousandth of a CPU.
fn change(more: Option<f64>) -> Field {
    match more {
        Some(more) if more.abs() < 0.0005 => Field::new("0"),
        Some(more) => {
            Field::new(format!("{more:+.3}")).tone(if more > 0.0 { Tone::Good } else { Tone::Warn })
        }
        None => Field::maybe(None::<u64>),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_stand_side_by_side() {
        let of = |shares, share_percent, cpus| Entitlement {
            shares,
            share_percent,
            cpus: Some(cpus),
            ..Entitlement::default()
        };
        let shift = |zone: &str, before, after| Shift { zone: zone.into(), before, after };
        let shifts = [
            shift("db", Some(of(100, 50.0, 1.0)), of(100, 25.0, 0.5)),
            shift("new", None, of(300, 75.0, 1.5)),
        ];
        let text = table(&shifts).render(Look::default());
        let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["db", "100", "100", "50.0%", "25.0%", "1.000", "0.500", "-0.500"]);
        assert_eq!(rows[2], ["new", "-", "300", "-", "75.0%", "-", "1.500", "-"]);
    }
}
