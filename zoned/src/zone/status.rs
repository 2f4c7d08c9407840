//! All that is known of one zone at one moment: what its actor's `watch` shows.

use std::sync::Arc;

use uuid::Uuid;
use zoned_api::{State, Verb, ZoneConfig, ZoneInfo, config};

use super::{online::Rule, tether::Tether};
use crate::{
    host::Host,
    plan::{IdRange, Identity},
    store::{
        Stored,
        record::{History, Record, Root},
    },
};

/// A zone at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its configuration, parsed.
    pub config: Arc<ZoneConfig>,
    /// The same as it was written.
    pub yaml: Arc<str>,
    /// What is kept of it.
    pub record: Record,
    /// Its boots.
    pub history: History,
    /// Its ids on the host.
    pub ids: IdRange,
    /// State.
    pub state: State,
    /// Why it is in this state, where that is not plain.
    pub reason: Option<String>,
    /// The verb under way.
    pub doing: Option<Verb>,
    /// Its boot, while there is one.
    pub run: Option<Run>,
}

/// A boot whose monitor lives.
#[derive(Clone, Debug)]
pub struct Run {
    /// The monitor.
    pub tether: Tether,
    /// Milliseconds since the epoch when it was booted.
    pub booted_ms: u64,
    /// By what it comes online.
    pub rule: Rule,
}

/// The state of a zone of which nothing runs, and why, where its root says so.
pub(super) fn at_rest(root: &Root) -> (State, Option<String>) {
    match root {
        Root::None => (State::Configured, None),
        Root::Incomplete { doing, why } => {
            let why = why.clone().unwrap_or_else(|| format!("its {doing} was interrupted"));
            (State::Incomplete, Some(why))
        }
        Root::Installed { .. } => (State::Installed, None),
    }
}

impl Status {
    /// Of a zone as it is kept; nothing of it runs.
    pub fn at_rest(stored: Stored, ids: IdRange) -> Self {
        let (state, why) = at_rest(&stored.record.root);
        // Else it is how its last boot ended, or why its install could not begin.
        let why = why.or_else(|| stored.history.reason.clone());
        Self {
            config: Arc::new(stored.config),
            yaml: stored.yaml.into(),
            record: stored.record,
            history: stored.history,
            ids,
            state,
            reason: why,
            doing: None,
            run: None,
        }
    }

    /// Identity.
    pub fn uuid(&self) -> Uuid {
        self.record.uuid
    }

    /// Who boots, or runs, or ran last.
    pub fn identity(&self) -> Identity {
        Identity {
            name: self.config.zone.clone(),
            uuid: self.uuid(),
            boot: self.history.boot,
            hostname: self.config.hostname.clone().unwrap_or_else(|| self.config.zone.to_string()),
        }
    }

    /// For `list` and `info`.
    pub fn info(&self, host: &Host) -> ZoneInfo {
        let (root, os) = match &self.record.root {
            Root::Installed { from, layers, os } if layers.is_empty() => (Some(from.clone()), os.as_deref()),
            Root::Installed { from, layers, os } => {
                (Some(format!("{from} (layers {})", layers.join(", "))), os.as_deref())
            }
            _ => (None, None),
        };
        let runs = matches!(self.state, State::Running | State::Paused);
        let seen = self.run.as_ref().filter(|_| runs).map(|run| (run, run.tether.seen()));
        ZoneInfo {
            zone: self.config.zone.clone(),
            uuid: self.uuid(),
            state: self.state,
            reason: self.reason.clone(),
            brand: self.config.brand.clone(),
            boot: self.history.boot,
            id_base: self.ids.base,
            init_pid: self.run.as_ref().and_then(|run| run.tether.seen().init),
            monitor_pid: self.run.as_ref().map(|run| run.tether.pid),
            booted_ms: self.run.as_ref().map(|run| run.booted_ms),
            online_ms: seen.as_ref().and_then(|(_, seen)| seen.online.since_ms),
            awaits: seen.and_then(|(run, seen)| run.rule.awaits(&seen)),
            last_exit: self.history.last_exit.clone(),
            root,
            os: os.map(str::to_owned),
            limits: Vec::new(),
            network: host.network.seen(&self.uuid(), &self.config),
            config: config::ZoneConfig::clone(&self.config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_at_rest_is_what_its_root_is() {
        let incomplete =
            |why: Option<&str>| Root::Incomplete { doing: Verb::Install, why: why.map(str::to_owned) };
        assert_eq!(at_rest(&Root::None), (State::Configured, None));
        assert_eq!(
            at_rest(&incomplete(None)),
            (State::Incomplete, Some("its install was interrupted".into()))
        );
        assert_eq!(at_rest(&incomplete(Some("broken"))), (State::Incomplete, Some("broken".into())));
        let installed = Root::Installed { from: "dir:/a".into(), layers: vec![], os: None };
        assert_eq!(at_rest(&installed), (State::Installed, None));
    }
}
