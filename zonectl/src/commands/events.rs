//! `zonectl events`.

use anyhow::Result;
use zoned_api::{Event, EventKind, Method, Reply};

use super::App;
use crate::{
    cli, daemon,
    output::{escape, reader_gone, units},
};

/// Show what happened: changes of state, requests, and on demand processes
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: zonectl events web --follow --processes")]
pub(crate) struct Args {
    /// Only of this zone, by name or UUID
    #[arg(value_name = "ZONE", value_parser = cli::zone)]
    zone: Option<String>,
    /// Only events after this number; they begin anew with each zoned
    #[arg(long, value_name = "N", value_parser = number)]
    since: Option<u64>,
    /// Go on with events as they happen
    #[arg(long, short)]
    follow: bool,
    /// With fork, exec and exit of processes
    #[arg(long, short)]
    processes: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "the number of an event is wanted, as `zonectl events` prints it".to_owned())
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let (zone, since, follow, processes) = (args.zone, args.since, args.follow, args.processes);
    client.stream(Method::Events { zone, since, follow, processes }).await?;
    let mut gone = std::pin::pin!(reader_gone());
    loop {
        let answer = tokio::select! {
            answer = client.next() => answer?,
            () = &mut gone => return Ok(0),
        };
        let (events, missed, more) = match answer {
            (Reply::Events { events, missed }, more) => (events, missed, more),
            (other, _) => return Err(daemon::unexpected(&other)),
        };
        // Without --since the kept ones were asked for, whatever came before them.
        if missed > 0 && since.is_some() {
            app.out.warn(&format!("{missed} events after {} are no longer kept", since.unwrap_or_default()));
        }
        for event in &events {
            if args.json { app.out.json_line(event)? } else { app.out.data(&line(event))? }
        }
        if !more {
            return Ok(0);
        }
    }
}

/// `<number> <time> <zone> <what happened>`.
fn line(event: &Event) -> String {
    let zone = event.zone.as_ref().map_or("-", |zone| zone.as_str());
    format!(
        "{:>6}  {}  {zone:<12}  {}",
        event.seq,
        units::moment(event.time_ms),
        escape::line(&what(&event.kind))
    )
}

fn what(kind: &EventKind) -> String {
    let because = |reason: &Option<String>| reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match kind {
        EventKind::DaemonStarted { adopted } => format!("zoned started and found {adopted} zones running"),
        EventKind::StateChanged { from, to, reason } => format!("{from} -> {to}{}", because(reason)),
        EventKind::Online { after_ms } => format!("online after {}", units::seconds(*after_ms)),
        EventKind::Request { verb, uid, error: None } => format!("{verb} by uid {uid}"),
        EventKind::Request { verb, uid, error } => format!("{verb} by uid {uid} failed{}", because(error)),
        EventKind::Configured { what } => format!("configuration {what}"),
        EventKind::Oom { kills: 1 } => "1 process killed for want of memory".to_owned(),
        EventKind::Oom { kills } => format!("{kills} processes killed for want of memory"),
        EventKind::Limit { key, times } if key == "tasks.max" => {
            format!("{key} reached, {times} forks refused")
        }
        EventKind::Limit { key, times } if key.starts_with("io.") => {
            format!("{key} reached, held at it for {times} s")
        }
        EventKind::Limit { key, times } => format!("{key} reached, no room left for {times} s"),
        EventKind::SchedulerLost { reason, backend } => {
            let now = backend.as_deref().unwrap_or("nothing");
            format!("the kernel took the CPU scheduler away ({reason}); shares are kept by {now} now")
        }
        EventKind::Fork { pid, child, comm } => format!("fork {pid} ({comm}) -> {child}"),
        EventKind::Exec { pid, comm } => format!("exec {pid} ({comm})"),
        EventKind::Exit { pid, comm, status } => format!("exit {pid} ({comm}) {}", ending(*status)),
        EventKind::Lost { count } => format!("{count} process events were lost: the buffer was full"),
    }
}

/// A wait status in words, wait(2).
fn ending(status: u32) -> String {
    match status & 0x7f {
        0 => format!("code {}", status >> 8 & 0xff),
        signal => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use zoned_api::{State, Verb};

    use super::*;

    #[test]
    fn every_kind_says_what_happened() {
        let reason = Some("init returned 3".to_owned());
        let (from, to) = (State::Running, State::ShuttingDown);
        let cases = [
            (EventKind::StateChanged { from, to, reason }, "running -> shutting-down: init returned 3"),
            (EventKind::Request { verb: Verb::Boot, uid: 0, error: None }, "boot by uid 0"),
            (
                EventKind::Request { verb: Verb::Boot, uid: 1000, error: Some("no root".into()) },
                "boot by uid 1000 failed: no root",
            ),
            (EventKind::Online { after_ms: 1_349 }, "online after 1.3s"),
            (EventKind::Oom { kills: 2 }, "2 processes killed for want of memory"),
            (EventKind::Limit { key: "tasks.max".into(), times: 9 }, "tasks.max reached, 9 forks refused"),
            (EventKind::Limit { key: "io.read".into(), times: 3 }, "io.read reached, held at it for 3 s"),
            (
                EventKind::Limit { key: "root.quota".into(), times: 1 },
                "root.quota reached, no room left for 1 s",
            ),
            (EventKind::Exit { pid: 7, comm: "sh".into(), status: 0x0300 }, "exit 7 (sh) code 3"),
            (EventKind::Exit { pid: 7, comm: "sh".into(), status: 0x89 }, "exit 7 (sh) signal 9"),
            (EventKind::Fork { pid: 7, child: 8, comm: "sh".into() }, "fork 7 (sh) -> 8"),
        ];
        for (kind, text) in cases {
            assert_eq!(what(&kind), text);
        }
    }

    #[test]
    fn names_of_programs_cannot_steer_the_terminal() {
        let kind = EventKind::Exec { pid: 9, comm: "\x1b]0;x\x07\n".into() };
        let text = line(&Event { seq: 1, time_ms: 0, zone: None, kind });
        assert!(text.ends_with("exec 9 (\\u{1b}]0;x\\u{7}\\n)"), "{text}");
        assert!(text.starts_with("     1  ") && text.contains("  -             exec"), "{text}");
    }
}
