//! Calls to the daemon, with the replies each must give.

use std::path::Path;

use anyhow::Result;
use zoned_api::{
    API_VERSION, Method, Reply, State, ZoneInfo,
    client::{Client, ClientError},
    report::GlobalInfo,
};

use crate::output::{failure::hinted, progress::Progress};

/// How a verb ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// State of the zone now; none if it is no more.
    pub(crate) state: Option<State>,
    /// Something worth knowing.
    pub(crate) note: Option<String>,
}

/// Connects, and refuses a daemon that is older than this program.
pub(crate) async fn connect(socket: &Path) -> Result<Client> {
    let mut client = Client::connect(socket).await?;
    match client.call(Method::Version {}).await? {
        Reply::Version { api, .. } if api >= API_VERSION => Ok(client),
        Reply::Version { daemon, api } => Err(hinted(
            format!("zoned {daemon} speaks version {api} of the API; this zonectl needs {API_VERSION}"),
            "restart zoned, so that the one beside this zonectl runs; zones go on meanwhile",
        )),
        other => Err(unexpected(&other)),
    }
}

/// All zones, by name.
pub(crate) async fn zones(client: &mut Client) -> Result<Vec<ZoneInfo>> {
    match client.call(Method::List {}).await? {
        Reply::Zones { zones } => Ok(zones),
        other => Err(unexpected(&other)),
    }
}

/// One zone.
pub(crate) async fn info(client: &mut Client, zone: &str) -> Result<ZoneInfo> {
    match client.call(Method::Info { zone: zone.to_owned() }).await? {
        Reply::Zones { mut zones } if zones.len() == 1 => Ok(zones.remove(0)),
        other => Err(unexpected(&other)),
    }
}

/// The host's own processes.
pub(crate) async fn global(client: &mut Client) -> Result<GlobalInfo> {
    match client.call(Method::Global {}).await? {
        Reply::Global { global } => Ok(global),
        other => Err(unexpected(&other)),
    }
}

/// A method that gives text.
pub(crate) async fn text(client: &mut Client, method: Method) -> Result<String> {
    match client.call(method).await? {
        Reply::Text { text } => Ok(text),
        other => Err(unexpected(&other)),
    }
}

/// A method that answers `Done` at once.
pub(crate) async fn done(client: &mut Client, method: Method) -> Result<Outcome> {
    match client.call(method).await? {
        Reply::Done { state, note } => Ok(Outcome { state, note }),
        other => Err(unexpected(&other)),
    }
}

/// A method that tells its progress and ends with `Done`.
pub(crate) async fn follow(
    client: &mut Client,
    method: Method,
    progress: &mut Progress<'_>,
) -> Result<Outcome> {
    client.stream(method).await?;
    loop {
        match client.next().await? {
            (Reply::Progress { step, amount }, true) => progress.step(&step, amount),
            (Reply::Done { state, note }, false) => return Ok(Outcome { state, note }),
            (other, _) => return Err(unexpected(&other)),
        }
    }
}

/// An answer that the method does not give.
pub(crate) fn unexpected(reply: &Reply) -> anyhow::Error {
    let text = format!("{reply:?}");
    let head: String = text.chars().take(60).collect();
    ClientError::Unexpected(head).into()
}
