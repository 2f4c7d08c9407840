//! Waiting for what the daemon does, until the caller has had enough.
//!
//! The work is zoned's: it goes on whoever waits for it. A person who presses Ctrl-C is told so, and by what to
//! watch it and to break it off.

use std::cell::RefCell;

use anyhow::Result;
use rustix::process::Signal;
use tokio::sync::Mutex;
use zoned_api::Verb;

use crate::{
    output::failure::interrupted,
    session::{Signals, number},
};

/// A verb under way on zones.
#[derive(Debug)]
pub(crate) struct Attend {
    verb: Verb,
    signals: Mutex<Signals>,
    zones: RefCell<Vec<(String, Stage)>>,
}

/// How far it is on a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Asked,
    Ended,
}

impl Attend {
    /// From now on signals are caught.
    pub(crate) fn watch(verb: Verb, zones: impl Iterator<Item = String>) -> Result<Self> {
        let signals = Signals::watch(&[Signal::INT, Signal::TERM, Signal::HUP])?;
        let zones = zones.map(|zone| (zone, Stage::Waiting)).collect();
        Ok(Self { verb, signals: Mutex::new(signals), zones: RefCell::new(zones) })
    }

    /// The daemon is asked for it now.
    pub(crate) fn begins(&self, zone: &str) {
        self.set(zone, Stage::Asked);
    }

    /// The daemon has answered, or could not be asked.
    pub(crate) fn ended(&self, zone: &str) {
        self.set(zone, Stage::Ended);
    }

    fn set(&self, zone: &str, stage: Stage) {
        if let Some(entry) =
            self.zones.borrow_mut().iter_mut().find(|(name, at)| name == zone && *at != Stage::Ended)
        {
            entry.1 = stage;
        }
    }

    /// Waits for the work, or for a signal, which is an error that says what becomes of it.
    pub(crate) async fn until<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let mut signals = self.signals.lock().await;
        tokio::select! {
            done = work => Ok(done),
            signal = signals.next() => {
                let (message, hint) = self.tells();
                Err(interrupted(number(signal), message, hint))
            }
        }
    }

    fn tells(&self) -> (String, Option<String>) {
        let zones = self.zones.borrow();
        let at = |stage| zones.iter().filter(|(_, at)| *at == stage).map(|(zone, _)| zone.as_str()).collect();
        let (asked, waiting): (Vec<&str>, Vec<&str>) = (at(Stage::Asked), at(Stage::Waiting));
        let mut message = "interrupted".to_owned();
        let mut hint = None;
        if let [first, ..] = asked[..] {
            message.push_str(&format!("; {} of {} goes on in zoned", self.verb, listed(&asked)));
            let one = if asked.len() == 1 { first } else { "ZONE" };
            let watch = format!("`zonectl events {one} --follow` shows how it goes on");
            hint = Some(match can_be_broken_off(self.verb) {
                true => format!("{watch}, `zonectl halt {one}` breaks it off"),
                false => watch,
            });
        }
        if !waiting.is_empty() {
            message.push_str(&format!("; {} of {} was not begun", self.verb, listed(&waiting)));
        }
        (message, hint)
    }
}

/// Whether a halt breaks into the verb, and leaves what is worth having.
fn can_be_broken_off(verb: Verb) -> bool {
    matches!(verb, Verb::Install | Verb::Ready | Verb::Boot | Verb::Shutdown | Verb::Reboot)
}

/// `zone a`, `zones a, b`.
pub(crate) fn listed(zones: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = zones.iter().map(AsRef::as_ref).collect();
    format!("zone{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_on_and_what_was_not_begun() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let attend = Attend::watch(Verb::Boot, names.into_iter()).unwrap();
        for zone in ["a", "b", "c"] {
            attend.begins(zone);
        }
        attend.ended("a");
        let (message, hint) = attend.tells();
        assert_eq!(message, "interrupted; boot of zones b, c goes on in zoned; boot of zone d was not begun");
        assert!(hint.unwrap().ends_with("`zonectl halt ZONE` breaks it off"));
        let attend = Attend::watch(Verb::Uninstall, ["a".to_owned()].into_iter()).unwrap();
        attend.begins("a");
        assert_eq!(attend.tells().1.unwrap(), "`zonectl events a --follow` shows how it goes on");
    }
}
