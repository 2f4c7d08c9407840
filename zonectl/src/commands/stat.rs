//! `zonectl stat`.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};
use zoned_api::{Method, Reply, ZoneStat, client::Client, stat::Entitlement};

use super::{App, list};
use crate::{
    cli, daemon,
    figures::{Rates, percentile},
    output::{
        failure::hinted,
        table::{Field, Look, Table, left, right},
        units,
    },
};

/// Show what zones take: CPU time, waits for a CPU, memory, tasks, I/O, disk
#[derive(clap::Args, Debug)]
#[command(
    after_help = "First what was taken since the zone's boot, then, with an INTERVAL (seconds), what each interval adds, COUNT \
                        times or until interrupted. CPU is measured by eBPF; CGROUP is the kernel's own figure beside it. \
                        WAIT is how many tasks waited for a CPU on average; P50 and P99 are how long half and 99 of 100 waits \
                        were at most, to the next power of two. With --json and an INTERVAL each report is one line. \
                        SHARE is its part of the shares of all zones that run, and of global where fss keeps shares, ENTITLED how many CPUs it gets when all of them \
                        want all they may have, CAP the most it may take of all CPUs; MEM is memory in use with the page cache, OOM how many processes were killed for want of it; DISK and INODES \
                        are used of root.quota and root.inodes, for zones that have a quota. \
                        On a narrow terminal columns are left out: ENTITLED, INODES, WRITTEN and READ first, then EXECS, FORKS, \
                        PREEMPTED, DROPPED, VOLUNTARY, SENT, RECEIVED, DISK, OOM, CAP, CGROUP, SHARE, P50, P99, WAIT, MEM, TASKS, STATE.\n\n\
                        Examples:\n  zonectl stat\n  zonectl stat web 1 10\n  zonectl stat --zone 1"
)]
pub(crate) struct Args {
    /// [ZONE] [INTERVAL [COUNT]]; ZONE may be `global`, the host; a number is an INTERVAL, never a ZONE
    #[arg(value_name = "ZONE|INTERVAL|COUNT", num_args = 0..=3)]
    words: Vec<String>,
    /// The zone, also one whose name is a number
    #[arg(long, short, value_name = "ZONE", value_parser = cli::zone_or_global)]
    zone: Option<String>,
    /// JSON: { "stats": [ … ] }
    #[arg(long)]
    json: bool,
}

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Wanted {
    zone: Option<String>,
    every: Option<Duration>,
    count: Option<u64>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let wanted = wanted(args.zone, &args.words)?;
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN)?.and_then(|n| u64::try_from(n).ok()).unwrap_or(1);
    let mut client = app.connect().await?;
    let mut old = read(&mut client, &wanted.zone).await?;
    if let Some(name) = args.words.first().filter(|word| number(word) && wanted.zone.is_none())
        && old.iter().any(|stat| stat.zone == *name)
    {
        app.out.aside(&format!("{name} is taken for an interval; `zonectl stat --zone {name}` is the zone"));
    }
    let Some(every) = wanted.every else {
        if args.json {
            app.out.json(&serde_json::json!({ "stats": old }))?;
        } else {
            show(app, &totals(&old), false)?;
        }
        return Ok(0);
    };
    report(app, args.json, &old, None)?;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    ticks.tick().await;
    let mut n = 0;
    while wanted.count.is_none_or(|count| n < count) {
        ticks.tick().await;
        let new = read(&mut client, &wanted.zone).await?;
        let rates = between(&old, &new, cpus);
        // One zone is a line a report, under one heading a screen.
        let headless = new.len() == 1 && n % 20 != 0;
        report(app, args.json, &new, Some((&rates, headless)))?;
        (old, n) = (new, n + 1);
    }
    Ok(0)
}

fn report(app: &App, json: bool, stats: &[ZoneStat], rates: Option<(&[Rates], bool)>) -> Result<()> {
    match rates {
        _ if json => {
            app.out.json_line(&serde_json::json!({ "stats": stats, "rates": rates.map(|(rates, _)| rates) }))
        }
        None => show(app, &totals(stats), false),
        Some((rates, headless)) => {
            if !headless {
                app.out.data("\n")?;
            }
            show(app, &changes(rates), headless)
        }
    }
}

fn show(app: &App, table: &Table, headless: bool) -> Result<()> {
    app.out.data(&table.render(Look { colour: app.out.colour, headless, width: app.out.width() }))
}

/// Digits with one point at most: `1e3` and `inf` are names.
fn number(word: &str) -> bool {
    word.parse::<f64>().is_ok() && word.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Sorts out the words: without `--zone`, the first one is a zone if it is no number.
fn wanted(zone: Option<String>, words: &[String]) -> Result<Wanted> {
    let (zone, rest) = match (zone, words.split_first()) {
        (None, Some((first, rest))) if !number(first) => {
            (Some(cli::zone_or_global(first).map_err(anyhow::Error::msg)?), rest)
        }
        (zone, _) => (zone, words),
    };
    let wrong = |word: &String, form: &str| hinted(format!("{word:?} is no {form}"), "zonectl stat web 1 10");
    let every = rest.first().map(|word| {
        let seconds = word.parse().ok().filter(|s: &f64| (0.01..=86_400.0).contains(s));
        seconds.map(Duration::from_secs_f64).ok_or_else(|| wrong(word, "interval (0.01 to 86400 seconds)"))
    });
    let count = rest.get(1).map(|word| word.parse().map_err(|_| wrong(word, "count (a whole number)")));
    if let Some(word) = rest.get(2) {
        return Err(wrong(word, "argument after ZONE, INTERVAL and COUNT"));
    }
    Ok(Wanted { zone, every: every.transpose()?, count: count.transpose()? })
}

async fn read(client: &mut Client, zone: &Option<String>) -> Result<Vec<ZoneStat>> {
    // The host is no zone: it is read with all of them.
    let host = zone.as_deref() == Some("global");
    let asked = zone.clone().filter(|_| !host);
    match client.call(Method::Stat { zone: asked }).await.context("cannot read the figures")? {
        Reply::Stats { mut stats } => {
            stats.retain(|stat| !host || stat.zone == "global");
            Ok(stats)
        }
        other => Err(daemon::unexpected(&other)),
    }
}

/// What changed for the zones that were there at both readings.
fn between(old: &[ZoneStat], new: &[ZoneStat], cpus: u64) -> Vec<Rates> {
    let before = |zone: &str| old.iter().find(|stat| stat.zone == zone);
    new.iter().filter_map(|stat| Rates::between(before(&stat.zone)?, stat, cpus)).collect()
}

fn totals(stats: &[ZoneStat]) -> Table {
    let heads = [
        ("CPU", 0),
        ("CGROUP", 8),
        ("SHARE", 7),
        ("ENTITLED", 22),
        ("CAP", 9),
        ("VOLUNTARY", 14),
        ("PREEMPTED", 16),
        ("WAIT", 4),
        ("P50", 6),
        ("P99", 5),
        ("MEM", 3),
        ("OOM", 10),
        ("TASKS", 2),
        ("FORKS", 17),
        ("EXECS", 18),
        ("READ", 19),
        ("WRITTEN", 20),
        ("RECEIVED", 12),
        ("SENT", 13),
        ("DROPPED", 15),
        ("DISK", 11),
        ("INODES", 21),
    ];
    let mut columns = vec![left("ZONE").least(12), left("STATE").spare(1)];
    columns.extend(heads.map(|(head, rank)| right(head).spare(rank)));
    let mut table = Table::new(columns);
    for stat in stats {
        let (cpu, processes) = (&stat.cpu, &stat.processes);
        let state = stat.state.map(|state| Field::new(state.as_str()).tone(list::tone(state)));
        table.row(vec![
            Field::new(&stat.zone),
            state.unwrap_or_else(|| Field::new("")),
            Field::new(units::cpu_time(cpu.usage_ns)),
            Field::maybe(cpu.cgroup_usage_ns.map(units::cpu_time)),
            share(stat.entitlement.as_ref()),
            entitled(stat.entitlement.as_ref()),
            cap(stat.entitlement.as_ref()),
            Field::new(cpu.switches_voluntary.to_string()),
            Field::new(cpu.switches_preempted.to_string()),
            Field::new(units::cpu_time(cpu.wait_ns)),
            wait(percentile(&cpu.wait_log2_us, 50)),
            wait(percentile(&cpu.wait_log2_us, 99)),
            Field::maybe(stat.memory.as_ref().map(|memory| units::size(memory.bytes))),
            Field::maybe(stat.memory.as_ref().map(|memory| memory.oom_kills)),
            Field::maybe(processes.tasks),
            Field::new(processes.forks.to_string()),
            Field::new(processes.execs.to_string()),
            Field::maybe(stat.io.as_ref().map(|io| units::size(io.read_bytes))),
            Field::maybe(stat.io.as_ref().map(|io| units::size(io.written_bytes))),
            Field::maybe(stat.net.as_ref().map(|net| units::size(net.received.total.bytes))),
            Field::maybe(stat.net.as_ref().map(|net| units::size(net.sent.total.bytes))),
            Field::maybe(stat.net.as_ref().map(|net| net.dropped.values().sum::<u64>())),
            Field::maybe(stat.disk.as_ref().map(|disk| units::size(disk.used_bytes))),
            Field::maybe(stat.disk.as_ref().map(|disk| disk.used_inodes)),
        ]);
    }
    table
}

fn changes(rates: &[Rates]) -> Table {
    let heads = [
        ("CPU", 0),
        ("%HOST", 8),
        ("CGROUP", 7),
        ("SHARE", 6),
        ("ENTITLED", 22),
        ("CAP", 9),
        ("VOL/s", 10),
        ("PREEMPT/s", 11),
        ("WAIT", 3),
        ("P50", 5),
        ("P99", 4),
        ("MEM", 2),
        ("TASKS", 1),
        ("FORK/s", 16),
        ("EXEC/s", 17),
        ("READ/s", 18),
        ("WRITE/s", 19),
        ("RECV/s", 12),
        ("SENT/s", 13),
        ("DROP/s", 15),
        ("DISK", 14),
        ("INODES", 20),
    ];
    let mut columns = vec![left("ZONE").least(12)];
    columns.extend(heads.map(|(head, rank)| right(head).least(7).spare(rank)));
    // Under one heading the columns must stay.
    let mut table = Table::new(columns).steady();
    for rate in rates {
        table.row(vec![
            Field::new(&rate.zone),
            Field::new(format!("{:.3}", rate.cores)),
            Field::new(format!("{:.1}", rate.host_percent)),
            Field::maybe(rate.cgroup_cores.map(|cores| format!("{cores:.3}"))),
            share(rate.entitlement.as_ref()),
            entitled(rate.entitlement.as_ref()),
            cap(rate.entitlement.as_ref()),
            Field::new(format!("{:.0}", rate.voluntary_per_s)),
            Field::new(format!("{:.0}", rate.preempted_per_s)),
            Field::new(format!("{:.2}", rate.waiting)),
            wait(rate.wait_p50_us),
            wait(rate.wait_p99_us),
            Field::maybe(rate.memory_bytes.map(units::size)),
            Field::maybe(rate.tasks),
            Field::new(format!("{:.0}", rate.forks_per_s)),
            Field::new(format!("{:.0}", rate.execs_per_s)),
            Field::maybe(rate.read_per_s.map(|n| units::size(n as u64))),
            Field::maybe(rate.written_per_s.map(|n| units::size(n as u64))),
            Field::maybe(rate.received_per_s.map(|n| units::size(n as u64))),
            Field::maybe(rate.sent_per_s.map(|n| units::size(n as u64))),
            Field::maybe(rate.dropped_per_s.map(|n| format!("{n:.0}"))),
            Field::maybe(rate.disk_bytes.map(units::size)),
            Field::maybe(rate.inodes),
        ]);
    }
    table
}

/// Its part of the shares of all zones that run.
fn share(entitlement: Option<&Entitlement>) -> Field {
    Field::maybe(entitlement.map(|e| format!("{:.1}%", e.share_percent)))
}

/// CPUs it gets when all zones that run want all they may have.
fn entitled(entitlement: Option<&Entitlement>) -> Field {
    Field::maybe(entitlement.and_then(|e| e.cpus).map(|cpus| format!("{cpus:.3}")))
}

/// Most of all CPUs it may take.
fn cap(entitlement: Option<&Entitlement>) -> Field {
    Field::maybe(entitlement.and_then(|e| e.cap_percent).map(|percent| format!("{percent:.1}%")))
}

/// The end of a bucket: `2us`, `4ms`, `8s`; the last one has none.
fn wait(us: Option<u64>) -> Field {
    Field::maybe(us.map(|us| match us {
        u64::MAX => ">33s".to_owned(),
        0..1024 => format!("{us}us"),
        1024..1_048_576 => format!("{}ms", us >> 10),
        _ => format!("{}s", us >> 20),
    }))
}

#[cfg(test)]
mod tests {
    use zoned_api::{State, stat::CpuStat};

    use super::*;

    fn words(text: &str) -> Result<Wanted> {
        wanted(None, &text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_word_that_is_no_number_is_a_zone() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(words("").unwrap(), Wanted { zone: None, every: None, count: None });
        assert_eq!(words("1 5").unwrap(), Wanted { zone: None, every: second, count: Some(5) });
        assert_eq!(
            words("global 1").unwrap(),
            Wanted { zone: Some("global".into()), every: second, count: None }
        );
        assert_eq!(words("1e3").unwrap().zone.as_deref(), Some("1e3"));
        let named = wanted(Some("1".into()), &["1".into(), "2".into()]).unwrap();
        assert_eq!(named, Wanted { zone: Some("1".into()), every: second, count: Some(2) });
        assert!(wanted(Some("1".into()), &["web".into()]).is_err());
        for bad in ["0", "-1", "web 1 x", "1 2 3", "web web", "a/b", "99999999"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    fn stat(zone: &str, state: Option<State>) -> ZoneStat {
        let cpu = CpuStat {
            usage_ns: 2_500_000_000,
            cgroup_usage_ns: state.map(|_| 2_501_000_000),
            wait_log2_us: [[0; 13].as_slice(), &[7], &[0; 12]].concat(),
            ..CpuStat::default()
        };
        ZoneStat { zone: zone.into(), state, cpu, ..ZoneStat::default() }
    }

    #[test]
    fn ebpf_and_cgroup_stand_side_by_side() {
        let text = totals(&[stat("global", None), stat("web", Some(State::Running))]).render(Look::default());
        let web: Vec<_> = text.lines().nth(2).unwrap().split_whitespace().take(12).collect();
        assert_eq!(
            web,
            ["web", "running", "2.500s", "2.501s", "-", "-", "-", "0", "0", "0.000s", "16ms", "16ms"]
        );
        assert!(text.lines().nth(1).unwrap().contains("2.500s       -"), "{text}");
    }

    #[test]
    fn reports_line_up_and_newcomers_wait_for_their_second_reading() {
        let later = |zone: &str, ns| ZoneStat { at_ns: ns, ..stat(zone, None) };
        let new = [later("a", 1_000_000_000), later("b", 1_000_000_000)];
        let one = changes(&between(&[stat("a", None)], &new, 2)).render(Look::default());
        let both = changes(&between(&[stat("a", None), stat("b", None)], &new, 2)).render(Look::default());
        assert_eq!((one.lines().count(), both.lines().count()), (2, 3));
        assert_eq!(one.lines().next(), both.lines().next());
        let rates = between(&[stat("a", None)], &new, 2);
        let headless = changes(&rates).render(Look { headless: true, ..Look::default() });
        assert_eq!(one.lines().nth(1), Some(headless.as_str()));
    }
}
