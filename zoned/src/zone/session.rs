//! Opening a session in a zone: the monitor does it, the client gets the descriptors.

use std::sync::Arc;

use zoned_api::ApiError;

use super::{
    actor::reply,
    request::{Answer, Request, What},
    status::Status,
};
use crate::host::Host;

/// Asks the zone's monitor, and answers the request.
pub(super) async fn open(host: Arc<Host>, status: Arc<Status>, mut request: Request) {
    let verb = request.what.verb();
    let answer = match (&mut request.what, &status.run) {
        (What::Session(_, asked, fds), Some(run)) => {
            let asked = run.tether.ask(asked, fds).await;
            asked.map_err(|e| ApiError::failed(format!("zone {}: {verb}: {e}", status.config.zone), None))
        }
        _ => Err(ApiError::WrongState {
            zone: status.config.zone.to_string(),
            state: status.state,
            verb,
            hint: "boot it first".into(),
        }),
    };
    let answer =
        answer.map(|session| Answer { state: Some(status.state), note: None, session: Some(session) });
    reply(&host, &status, request, answer);
}
