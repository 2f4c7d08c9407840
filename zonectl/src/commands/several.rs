//! One verb on several zones: each is tried, each is reported, and one failure is enough for exit status 1.

use anyhow::Result;
use clap::Args;
use futures_util::{StreamExt, stream};
use zoned_api::{Method, State, ZoneInfo, client::Client};

use super::App;
use crate::{cli, daemon, output::progress::Progress};

/// How many zones are worked on at once where their order does not matter.
pub(crate) const AT_ONCE: usize = 8;

/// The zones meant.
#[derive(Args, Debug)]
pub(crate) struct Zones {
    /// Name or UUID of a zone
    #[arg(value_name = "ZONE", value_parser = cli::zone, required_unless_present = "all")]
    zones: Vec<String>,
    /// Every zone that is in a state for it, in the order of the configurations
    #[arg(long, conflicts_with = "zones")]
    all: bool,
}

/// Carries out a verb on zones, at most `at_once` at a time; `states` are those that `--all` picks.
pub(crate) async fn run(
    app: &App,
    zones: &Zones,
    states: &[State],
    at_once: usize,
    method: impl Fn(String) -> Method,
) -> Result<u8> {
    let mut client = app.connect().await?;
    let names =
        if zones.all { picked(daemon::zones(&mut client).await?, states) } else { zones.zones.clone() };
    if names.is_empty() {
        let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
        app.out.aside(&format!("no zone is {}", states.join(" or ")));
        return Ok(0);
    }
    let mut spare = Some(client);
    let works = names.into_iter().map(|zone| one(app, spare.take(), method(zone.clone()), zone));
    let failed =
        stream::iter(works).buffer_unordered(at_once).filter(|done| std::future::ready(!done)).count();
    Ok(u8::from(failed.await > 0))
}

/// One zone's share. True if it went well.
async fn one(app: &App, client: Option<Client>, method: Method, zone: String) -> bool {
    let done = async {
        let mut client = match client {
            Some(client) => client,
            None => app.connect().await?,
        };
        daemon::follow(&mut client, method, &mut Progress::new(&app.out, &zone, false)).await
    };
    match done.await {
        Ok(outcome) => app.report(&zone, &outcome, "deleted"),
        Err(error) => {
            app.out.error(&error);
            return false;
        }
    }
    true
}

/// Names of the zones in one of the states, by `order`, then by name.
fn picked(mut zones: Vec<ZoneInfo>, states: &[State]) -> Vec<String> {
    zones.retain(|zone| states.contains(&zone.state));
    zones.sort_by(|a, b| (a.config.order, &a.zone).cmp(&(b.config.order, &b.zone)));
    zones.into_iter().map(|zone| zone.zone.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::list::tests::zone;

    #[test]
    fn all_picks_by_state_and_goes_by_order() {
        let zones = vec![
            zone("b", State::Installed, "order: 2"),
            zone("a", State::Installed, "order: 2"),
            zone("z", State::Installed, "order: 1"),
            zone("up", State::Running, ""),
        ];
        assert_eq!(picked(zones, &[State::Installed, State::Ready]), ["z", "a", "b"]);
    }
}
