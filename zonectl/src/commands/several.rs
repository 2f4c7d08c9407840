//! One verb on several zones: each is tried, each is reported, and one failure is enough for exit status 1.

use anyhow::Result;
use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use zoned_api::{
    Method,
    State::{self, Down, Installed, Paused, Ready, Running, ShuttingDown},
    Verb, ZoneInfo,
    client::Client,
};

use super::{App, attend::Attend};
use crate::{
    cli,
    daemon::{self, Outcome},
    output::progress::Progress,
};

/// How many zones are worked on at once where their order does not matter.
const AT_ONCE: usize = 8;

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

/// The states in which `--all` picks a zone for a verb.
fn states(verb: Verb) -> &'static [State] {
    match verb {
        Verb::Ready => &[Installed],
        Verb::Boot => &[Installed, Ready],
        Verb::Shutdown | Verb::Reboot | Verb::Pause => &[Running],
        Verb::Resume => &[Paused],
        Verb::Halt => &[Ready, Running, Paused, ShuttingDown, Down],
        _ => &[],
    }
}

/// Carries out a verb without arguments.
pub(crate) async fn run(app: &App, zones: &Zones, verb: Verb) -> Result<u8> {
    run_as(app, zones, verb, |zone| Method::Do { zone, verb, uuid: None }).await
}

/// Carries out a verb that has a method of its own.
pub(crate) async fn run_as(
    app: &App,
    zones: &Zones,
    verb: Verb,
    method: impl Fn(String) -> Method,
) -> Result<u8> {
    let (client, names) = chosen(app, zones, verb).await?;
    let asked = names.into_iter().map(|zone| (zone.clone(), method(zone))).collect();
    each(app, client, verb, asked).await
}

/// A connection, and the zones that are meant; says so if there are none.
pub(super) async fn chosen(app: &App, zones: &Zones, verb: Verb) -> Result<(Client, Vec<String>)> {
    let mut client = app.connect().await?;
    let states = states(verb);
    let names =
        if zones.all { picked(daemon::zones(&mut client).await?, states) } else { zones.zones.clone() };
    if names.is_empty() {
        let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
        app.out.aside(&format!("no zone is {}", states.join(" or ")));
    }
    Ok((client, names))
}

/// Asks for each and reports each.
pub(crate) async fn each(app: &App, client: Client, verb: Verb, asked: Vec<(String, Method)>) -> Result<u8> {
    let attend = Attend::watch(verb, asked.iter().map(|(zone, _)| zone.clone()))?;
    let done = carry_out(app, client, &attend, verb, asked);
    let failed = done.filter(|done| {
        if let Some(Done { zone, outcome, .. }) = done {
            attend.ended(zone);
            app.report(zone, outcome, "deleted");
        }
        std::future::ready(done.is_none())
    });
    Ok(u8::from(attend.until(failed.count()).await? > 0))
}

/// A verb that went well.
pub(super) struct Done {
    /// The connection it was asked for on.
    pub(super) client: Client,
    pub(super) zone: String,
    pub(super) outcome: Outcome,
}

/// Asks for each; what goes wrong is reported, and none.
pub(super) fn carry_out<'a>(
    app: &'a App,
    client: Client,
    attend: &'a Attend,
    verb: Verb,
    asked: Vec<(String, Method)>,
) -> impl Stream<Item = Option<Done>> + 'a {
    // The order of the names is the order of what comes up; what goes down needs none.
    let at_once = if matches!(verb, Verb::Boot | Verb::Ready) { 1 } else { AT_ONCE };
    let mut spare = Some(client);
    let works = asked.into_iter().map(move |(zone, method)| one(app, spare.take(), attend, method, zone));
    stream::iter(works).buffer_unordered(at_once)
}

/// One zone's share.
async fn one(
    app: &App,
    client: Option<Client>,
    attend: &Attend,
    method: Method,
    zone: String,
) -> Option<Done> {
    let done = async {
        let mut client = match client {
            Some(client) => client,
            None => app.connect().await?,
        };
        attend.begins(&zone);
        let outcome = daemon::follow(&mut client, method, &mut Progress::new(&app.out, &zone, false)).await?;
        Ok((client, outcome))
    };
    match done.await {
        Ok((client, outcome)) => Some(Done { client, zone, outcome }),
        Err(error) => {
            attend.ended(&zone);
            app.out.error(&error);
            None
        }
    }
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
        assert_eq!(picked(zones, states(Verb::Boot)), ["z", "a", "b"]);
    }
}
