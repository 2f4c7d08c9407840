//! What a call can fail with, as it crosses the socket.

use serde::{Deserialize, Serialize};

use crate::state::{State, Verb};

/// The body of an error: what failed and why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// One sentence: the object first, then what is wrong with it and why.
    pub message: String,
    /// What the reader can do, as one sentence, where something can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// An error reply. Its varlink name is `io.zoned.Manager.<variant>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum ApiError {
    /// No zone of that name.
    #[serde(rename = "io.zoned.Manager.NoSuchZone")]
    #[error("zone {zone}: no such zone")]
    NoSuchZone {
        /// The name that was asked for.
        zone: String,
    },
    /// The name is taken.
    #[serde(rename = "io.zoned.Manager.ZoneExists")]
    #[error("zone {zone}: exists already")]
    ZoneExists {
        /// The name that is taken.
        zone: String,
    },
    /// A configuration or argument is wrong; nothing was changed.
    #[serde(rename = "io.zoned.Manager.Invalid")]
    #[error("{}", .0.message)]
    Invalid(Fault),
    /// The verb is illegal in the zone's state.
    #[serde(rename = "io.zoned.Manager.WrongState")]
    #[error("zone {zone}: cannot {} while it is {state}", act(*verb))]
    WrongState {
        /// The zone.
        zone: String,
        /// Its state when the request was judged.
        state: State,
        /// What was asked.
        verb: Verb,
        /// What to do instead.
        hint: String,
    },
    /// Another request is at work on the zone and this one cannot join it.
    #[serde(rename = "io.zoned.Manager.Busy")]
    #[error("zone {zone}: busy with {doing}")]
    Busy {
        /// The zone.
        zone: String,
        /// The verb that is under way.
        doing: Verb,
    },
    /// A step failed. The zone is in a named state.
    #[serde(rename = "io.zoned.Manager.Failed")]
    #[error("{}", .0.message)]
    Failed(Fault),
    /// This host or build cannot do what was asked.
    #[serde(rename = "io.zoned.Manager.Unsupported")]
    #[error("{}", .0.message)]
    Unsupported(Fault),
    /// The caller may not do this.
    #[serde(rename = "io.zoned.Manager.Denied")]
    #[error("{}", .0.message)]
    Denied(Fault),
    /// The interface does not exist (varlink's own).
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    #[error("the daemon has no interface {interface}")]
    InterfaceNotFound {
        /// The interface that was asked for.
        interface: String,
    },
    /// The method does not exist (varlink's own).
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    #[error("the daemon has no method {method}")]
    MethodNotFound {
        /// The method that was called.
        method: String,
    },
    /// A parameter is missing, of the wrong type or unknown (varlink's own).
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    #[error("invalid parameter: {parameter}")]
    InvalidParameter {
        /// Which, and what is wrong with it.
        parameter: String,
    },
}

/// A verb as a sentence has it, where the word on the command line is none of the language.
fn act(verb: Verb) -> &'static str {
    match verb {
        Verb::Cp => "copy",
        Verb::Console => "attach to the console",
        verb => verb.as_str(),
    }
}

impl ApiError {
    /// What the reader can do, where something can be done.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ApiError::NoSuchZone { .. } => Some("`zonectl list` shows the zones there are"),
            ApiError::ZoneExists { .. } => Some("choose another name, or change it with `zonectl edit`"),
            ApiError::Invalid(f) | ApiError::Failed(f) | ApiError::Unsupported(f) | ApiError::Denied(f) => {
                f.hint.as_deref()
            }
            ApiError::WrongState { hint, .. } => Some(hint),
            ApiError::Busy { .. } => Some("wait for it to end, or look at `zonectl events`"),
            ApiError::MethodNotFound { .. } => Some("zonectl is newer than zoned: restart zoned"),
            ApiError::InterfaceNotFound { .. } | ApiError::InvalidParameter { .. } => None,
        }
    }

    /// A wrong configuration or argument.
    pub fn invalid(message: impl Into<String>, hint: Option<String>) -> Self {
        ApiError::Invalid(Fault { message: message.into(), hint })
    }

    /// A step that failed.
    pub fn failed(message: impl Into<String>, hint: Option<String>) -> Self {
        ApiError::Failed(Fault { message: message.into(), hint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_that_is_no_word_is_put_in_words() {
        let said = |verb| {
            let hint = String::new();
            ApiError::WrongState { zone: "web".into(), state: State::Paused, verb, hint }.to_string()
        };
        assert_eq!(said(Verb::Boot), "zone web: cannot boot while it is paused");
        assert_eq!(said(Verb::Cp), "zone web: cannot copy while it is paused");
        assert_eq!(said(Verb::Console), "zone web: cannot attach to the console while it is paused");
    }
}
