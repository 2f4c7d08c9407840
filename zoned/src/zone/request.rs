//! What is asked of a zone's actor, and what it answers.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use tokio::sync::{mpsc, oneshot};
use zoned_api::{ApiError, State, Verb};

use crate::monitor::protocol;

/// A step of something long: what, and how much is done of how much.
pub type Step = (String, Option<(u64, Option<u64>)>);

/// One request.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub what: What,
    /// User id of who asks.
    pub uid: u32,
    /// Where steps are told; full or closed is no reason to stop.
    pub steps: Option<mpsc::Sender<Step>>,
    /// Where the answer goes; whoever asked may have gone.
    pub answer: oneshot::Sender<Result<Answer, ApiError>>,
}

/// What can be asked.
#[derive(Debug)]
pub enum What {
    /// Replace the configuration.
    Edit {
        /// The new text.
        yaml: String,
        /// The text it was made from.
        base: Option<String>,
    },
    /// Change single keys.
    Set(BTreeMap<String, String>),
    /// Move the zone between states.
    Move(Verb, Arguments),
    /// Open a session.
    Session(Verb, protocol::Request, Vec<OwnedFd>),
}

/// What verbs take beside the zone. Two requests are the same if these are too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Install: image to take instead of the configured one.
    pub from: Option<String>,
    /// Shutdown, or a clean reboot: seconds to wait for the zone's init.
    pub timeout: Option<u32>,
}

impl What {
    /// The verb.
    pub fn verb(&self) -> Verb {
        match self {
            What::Edit { .. } => Verb::Edit,
            What::Set(_) => Verb::Set,
            What::Move(verb, _) | What::Session(verb, ..) => *verb,
        }
    }
}

/// The answer to a request that was carried out.
#[derive(Debug, Default)]
pub struct Answer {
    /// State the zone is in now; none if it is no more.
    pub state: Option<State>,
    /// Something worth knowing.
    pub note: Option<String>,
    /// An opened session: its process, and its descriptors.
    pub session: Option<(Option<u32>, Vec<OwnedFd>)>,
}
