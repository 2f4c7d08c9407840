//! Errors in one voice: `zonectl: <what failed, on what, why>`, then what to do on a line of its own.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use zoned_api::client::ClientError;

use super::{ReaderGone, escape};

/// An error of zonectl's own that knows what to do about it.
#[derive(Debug)]
struct Hinted {
    message: String,
    hint: Option<String>,
    /// The signal that ended it.
    signal: Option<u8>,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Hinted {}

/// An error with a hint.
pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: Some(hint.into()), signal: None }.into()
}

/// A signal ended the waiting.
pub(crate) fn interrupted(signal: u8, message: impl Into<String>, hint: Option<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint, signal: Some(signal) }.into()
}

/// Says an error and returns what to exit with: as shells have it where a signal was the cause, else the verb's own.
pub(crate) fn exit(error: &anyhow::Error, failed: u8) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    // If not even this can be said, the status still tells.
    let _ = io::stderr().lock().write_all(render(error).as_bytes());
    let signal = error.downcast_ref::<Hinted>().and_then(|own| own.signal);
    signal.map_or(failed, |signal| 128 + signal).into()
}

/// The error as a person reads it, escaped, one or more lines.
pub(crate) fn render(error: &anyhow::Error) -> String {
    let (message, hint) = parts(error);
    let mut text = format!("zonectl: {}\n", escape::message(&message));
    if let Some(hint) = hint {
        text.push_str(&format!("  try: {}\n", escape::message(&hint)));
    }
    text
}

fn parts(error: &anyhow::Error) -> (String, Option<String>) {
    let above = |cause: &str| {
        // Context put on top of a daemon's error comes first.
        let top = error.to_string();
        if top == cause { top } else { format!("{top}: {cause}") }
    };
    if let Some(client) = error.downcast_ref::<ClientError>() {
        return match client {
            ClientError::Connect { path, source } => unreachable_daemon(path, source),
            ClientError::Api(api) => (above(&api.to_string()), api.hint().map(str::to_owned)),
            ClientError::Broken(_) => {
                let hint = "look at zoned's own log; zones go on without it".to_owned();
                (above(&client.to_string()), Some(hint))
            }
            other => (above(&other.to_string()), None),
        };
    }
    if let Some(own) = error.downcast_ref::<Hinted>() {
        return (above(&own.message), own.hint.clone());
    }
    if let Some(api) = error.downcast_ref::<zoned_api::ApiError>() {
        return (above(&api.to_string()), api.hint().map(str::to_owned));
    }
    (without_number(&format!("{error:#}")), None)
}

/// A system error as strerror(3) has it, without Rust's number.
fn without_number(text: &str) -> String {
    match text.strip_suffix(')').and_then(|text| text.rsplit_once(" (os error ")) {
        Some((words, number)) if number.parse::<u32>().is_ok() => words.to_owned(),
        _ => text.to_owned(),
    }
}

/// Nothing answers: why, and how to start it.
fn unreachable_daemon(path: &str, source: &(dyn Error + 'static)) -> (String, Option<String>) {
    let start = "start the daemon, as root: `zoned &`";
    let mut cause = Some(source);
    while let Some(other) = cause.filter(|e| !e.is::<io::Error>()) {
        cause = other.source();
    }
    let cause = cause.and_then(|e| e.downcast_ref::<io::Error>());
    let (why, hint) = match cause.map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => ("zoned does not run (no such socket)".to_owned(), start),
        Some(io::ErrorKind::ConnectionRefused) => ("zoned does not run (nobody listens)".to_owned(), start),
        Some(io::ErrorKind::PermissionDenied) => {
            ("this user may not talk to zoned".to_owned(), "run it as root, by sudo for instance")
        }
        _ => (format!("cannot connect to zoned: {source}"), "give the right one by --socket or ZONED_SOCKET"),
    };
    (format!("{path}: {why}"), Some(hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use zoned_api::{ApiError, State, Verb};

    use super::*;

    #[test]
    fn object_reason_and_hint() {
        let wrong = ApiError::WrongState {
            zone: "web".into(),
            state: State::Configured,
            verb: Verb::Boot,
            hint: "`zonectl install web` first".into(),
        };
        let text = render(&ClientError::Api(wrong).into());
        assert_eq!(
            text,
            "zonectl: zone web: cannot boot while it is configured\n  try: `zonectl install web` first\n"
        );
    }

    #[test]
    fn what_a_zone_wrote_is_escaped() {
        let text =
            render(&ApiError::failed("zone web: \x1b]0;x\x07\nzonectl: zone db: deleted", None).into());
        assert_eq!(text, "zonectl: zone web: \\u{1b}]0;x\\u{7}\n  zonectl: zone db: deleted\n");
    }

    #[test]
    fn context_comes_before_cause() {
        let none = ApiError::NoSuchZone { zone: "db".into() };
        let text = render(&Err::<(), _>(ClientError::Api(none)).context("cannot copy").unwrap_err());
        assert!(text.starts_with("zonectl: cannot copy: zone db: no such zone\n  try: "), "{text}");
        let io = Err::<(), _>(io::Error::from_raw_os_error(2)).context("a.yaml").unwrap_err();
        assert_eq!(render(&io), "zonectl: a.yaml: No such file or directory\n");
    }
}
