//! `--wait` of the verbs that bring zones up: all are brought up first, and then waited for together.

use anyhow::Result;
use futures_util::{StreamExt, future::join_all};
use zoned_api::{Method, Verb};

use super::{
    App,
    attend::Attend,
    several::{self, Done, Zones},
};
use crate::{
    daemon::{self, Outcome},
    output::progress::Progress,
};

/// How long to stay.
#[derive(clap::Args, Debug)]
pub(crate) struct Patience {
    /// Return when the zones are online; fail if one is not in time, or ends before it is
    #[arg(long, short)]
    wait: bool,
    /// Seconds to wait for each; what its configuration says if not given
    #[arg(long, short, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u32>,
}

/// Carries out a verb that brings zones up, and waits for them if asked to.
pub(crate) async fn run(app: &App, zones: &Zones, verb: Verb, patience: &Patience) -> Result<u8> {
    if !patience.wait {
        return several::run(app, zones, verb).await;
    }
    let (client, names) = several::chosen(app, zones, verb).await?;
    let attend = Attend::watch(verb, names.iter().cloned())?;
    let asked = names.into_iter().map(|zone| (zone.clone(), Method::Do { zone, verb, uuid: None })).collect();
    let all = async {
        let up: Vec<_> = several::carry_out(app, client, &attend, verb, asked).collect().await;
        let waits = up.into_iter().map(|done| async {
            match done {
                Some(done) => wait(app, &attend, done, patience.timeout).await,
                None => false,
            }
        });
        join_all(waits).await
    };
    Ok(u8::from(attend.until(all).await?.contains(&false)))
}

/// Waits for one zone and reports it. True if it is online.
async fn wait(app: &App, attend: &Attend, done: Done, timeout: Option<u32>) -> bool {
    let Done { mut client, zone, outcome } = done;
    let method = Method::Wait { zone: zone.clone(), timeout };
    let waited = daemon::follow(&mut client, method, &mut Progress::new(&app.out, &zone, true)).await;
    attend.ended(&zone);
    match waited {
        Ok(online) => {
            let notes: Vec<_> = [outcome.note, online.note].into_iter().flatten().collect();
            let note = (!notes.is_empty()).then(|| notes.join("; "));
            app.report(&zone, &Outcome { state: online.state, note }, "deleted");
            true
        }
        Err(error) => {
            app.out.error(&error);
            false
        }
    }
}
